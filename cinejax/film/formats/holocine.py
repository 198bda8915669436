"""HoloCine (arXiv 2510.20822): one caption of the film, and one of each shot.

As text: `[global caption] … [per shot caption] … [shot cut] …`, whose FILM_SECS
(241 frames at 16 fps) are split evenly. As JSON: `global_caption`,
`shot_captions`, `num_frames` and `shot_cut_frames`, where each later shot
starts, at `fps` 15; without `shot_cut_frames` shots are equally long.
"""

import itertools
import re
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import (
  Document,
  note_unused,
  number,
  text_list,
)

FILM_SECS = 15.0
FPS = 15
_FRAMES = 241  # of a film


def is_text(text: str) -> bool:
  return '[per shot caption]' in text.lower()


def read_text(text: str, where: str) -> list[Document]:
  """The document of one film; each `[shot cut]` starts the next shot."""
  opening, shots = re.split(r'(?i)\[per shot caption\]', text, maxsplit=1)
  caption = re.sub(r'(?i)\[global caption\]', '', _without_count(opening))
  prompts = [part.strip() for part in re.split(r'(?i)\[shot cut\]', shots)]
  for shot, prompt in enumerate(prompts):
    if not prompt:
      raise UserError(f'{where}: shot {shot} has an empty per shot caption')
  secs = FILM_SECS / len(prompts)
  return [
    {
      'global_prompt': caption.strip(),
      'segments': [{'prompt': prompt, 'secs': secs} for prompt in prompts],
    }
  ]


def matches(value: Any) -> bool:
  return isinstance(value, dict) and 'shot_captions' in value


def read(value: Document, where: str) -> list[Document]:
  prompts = text_list(value['shot_captions'], f'{where}: shot_captions')
  caption = value.get('global_caption') or ''
  frames = number(value.get('num_frames', _FRAMES), f'{where}: num_frames')
  rate = number(value.get('fps', FPS), f'{where}: fps')
  cuts = value.get('shot_cut_frames')
  if cuts is None:
    cuts = [frames * shot / len(prompts) for shot in range(1, len(prompts))]
  if not isinstance(cuts, list) or len(cuts) != len(prompts) - 1 or rate <= 0:
    raise UserError(
      f'{where}: shot_cut_frames must say where each of the shots 2 to '
      f'{len(prompts)} starts, and fps be above 0'
    )
  cuts = [number(cut, f'{where}: shot_cut_frames') for cut in cuts]
  lengths = itertools.pairwise((0, *cuts, frames))
  used = {'global_caption', 'shot_captions', 'num_frames', 'shot_cut_frames'}
  note_unused(where, 'HoloCine', value.keys() - used - {'fps', 'seed'})
  document: Document = {
    'global_prompt': _without_count(caption).strip()
    if isinstance(caption, str)
    else caption,
    'segments': [
      {'prompt': prompt, 'secs': (end - start) / rate}
      for prompt, (start, end) in zip(prompts, lengths, strict=True)
    ],
  }
  if value.get('seed') is not None:
    document['seed'] = value['seed']
  return [document]


def _without_count(caption: str) -> str:
  # Every chunk reads the caption, and none of them shows all shots.
  return re.sub(r'(?i)this scene contains \d+ shots?\.?', '', caption)
