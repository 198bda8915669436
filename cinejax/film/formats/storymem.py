"""StoryMem (Kevin-thu/StoryMem): scenes of prompts, in JSON5.

Every shot has 81 frames at 16 fps. `cut` is a list of booleans, or of "True"
and "False".
"""

from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import (
  FPS,
  Document,
  note_unused,
  text_list,
  title,
)

SECS = 81 / FPS
_CUTS = {True: True, False: False, 'true': True, 'false': False}


def matches(value: Any) -> bool:
  return isinstance(value, dict) and isinstance(value.get('scenes'), list)


def read(value: Document, where: str) -> list[Document]:
  segments, unused = [], value.keys() - {'story_name', 'scenes'}
  for number, scene in enumerate(value['scenes']):
    place = f'{where}: scenes[{number}]'
    if not isinstance(scene, dict):
      raise UserError(f'{place} must be an object with video_prompts')
    prompts = text_list(scene.get('video_prompts'), f'{place}.video_prompts')
    cuts = scene.get('cut', [True] * len(prompts))
    if not isinstance(cuts, list) or len(cuts) != len(prompts):
      raise UserError(f'{place}.cut has not one value for each video prompt')
    unused |= scene.keys() - {'scene_num', 'video_prompts', 'cut'}
    for index, (prompt, cut) in enumerate(zip(prompts, cuts, strict=True)):
      segments.append(
        {
          'prompt': prompt,
          'secs': SECS,
          'cut': _cut(cut, f'{place}.cut[{index}]'),
        }
      )
  note_unused(where, 'StoryMem', unused)
  return [{'title': title(value.get('story_name', '')), 'segments': segments}]


def _cut(value: Any, where: str) -> bool:
  value = value.lower() if isinstance(value, str) else value
  if not isinstance(value, bool | str) or value not in _CUTS:
    raise UserError(f'{where} is {value!r}; it must be true or false')
  return _CUTS[value]
