"""FastVideo (hao-ai-lab/FastVideo): Dreamverse, sessions and prompt lists.

* Dreamverse presets: `[{"label": …, "segment_prompts": […]}]`; a segment has
  121 frames at 24 fps and continues the one before.
* Messages of an interactive session, one a line, with a `type`.
* `{"data": [{"caption": …, "num_frames": …}]}`; frames are taken at 16 fps.
* Lines of `{"id": …, "video_prompt": …}`.
"""

from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import (
  FPS,
  PROMPT_SECS,
  Document,
  note_unused,
  number,
  text_list,
  title,
)

SECS = 121 / 24  # of a segment
_SESSION = frozenset({'session_init_v2', 'segment_prompt_source'})
_SAMPLING = ('num_inference_steps', 'guidance_scale', 'negative_prompt')


def matches(value: Any) -> bool:
  entries = value if isinstance(value, list) else [value]
  return bool(entries) and all(
    isinstance(entry, dict)
    and ('segment_prompts' in entry or 'video_prompt' in entry or _data(entry))
    for entry in entries
  )


def read(value: Any, where: str) -> list[Document]:
  films = []
  for index, entry in enumerate(value if isinstance(value, list) else [value]):
    place = f'{where}: [{index}]' if isinstance(value, list) else where
    if _data(entry):
      films += [_clip(one, f'{place}: data[{i}]') for i, one in _data(entry)]
      note_unused(where, 'FastVideo', _given(entry) - {'caption', 'num_frames'})
    elif 'video_prompt' in entry:
      used = {'id', 'video_prompt'}
      note_unused(where, 'FastVideo', entry.keys() - used)
      segment = {'prompt': entry['video_prompt'], 'secs': PROMPT_SECS}
      films.append({'title': title(entry.get('id', '')), 'segments': [segment]})
    else:
      used = {'id', 'label', 'segment_prompts'}
      note_unused(where, 'Dreamverse', entry.keys() - used)
      prompts = text_list(entry['segment_prompts'], f'{place}: segment_prompts')
      films.append(
        {'title': title(entry.get('label', ''))} | _continued(prompts)
      )
  return films


def is_session(rows: list[Any]) -> bool:
  """Whether rows of a file are the messages of a session."""
  types = [row.get('type') for row in rows if isinstance(row, dict)]
  return len(types) == len(rows) and bool(_SESSION & {*map(str, types)})


def read_session(rows: list[Document], where: str) -> list[Document]:
  """The film of a session: its first prompts, then every further one."""
  prompts, seed, name, unused = [], None, '', set()
  for index, row in enumerate(rows):
    place = f'{where}: message {index}'
    if row['type'] == 'session_init_v2':
      name = row.get('preset_label') or row.get('preset') or ''
      if row.get('curated_prompts'):
        prompts += text_list(row['curated_prompts'], f'{place}.curated_prompts')
    elif row['type'] == 'segment_prompt_source':
      prompts += text_list([row.get('prompt')], f'{place}.prompt')
      seed = row.get('seed') if seed is None else seed
      unused |= {field for field in _SAMPLING if field in row}
    else:
      unused.add(str(row['type']))
  note_unused(where, 'FastVideo', unused)
  document = {'title': title(name)} | _continued(prompts)
  return [document if seed is None else document | {'seed': seed}]


def _data(entry: Document) -> list[tuple[int, Any]]:
  data = entry.get('data')
  if not isinstance(data, list):
    return []
  return list(enumerate(data))


def _given(entry: Document) -> set[str]:
  clips = [clip.items() for _, clip in _data(entry)]
  return {name for items in clips for name, value in items if value is not None}


def _clip(entry: Any, where: str) -> Document:
  if not isinstance(entry, dict) or 'caption' not in entry:
    raise UserError(f'{where} must be an object with a caption')
  secs = PROMPT_SECS
  if entry.get('num_frames') is not None:
    secs = number(entry['num_frames'], f'{where}.num_frames') / FPS
  return {'segments': [{'prompt': entry['caption'], 'secs': secs}]}


def _continued(prompts: list[str]) -> Document:
  return {
    'segments': [
      {'prompt': prompt, 'secs': SECS} | ({'cut': False} if index else {})
      for index, prompt in enumerate(prompts)
    ]
  }
