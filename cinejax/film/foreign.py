"""Converts screenplays in the formats of other projects.

* LongLive 2 shot folders (NVlabs/LongLive): `<i>.json` with a `caption` for
  each shot, and `shot_durations.txt` with the blocks of one shot on each line;
  a block is a chunk. Lengths come from that file, or else from `num_blocks` of
  each shot, or else from an even split of a given total, whose remainder goes
  to the first shots.
* LongLive interactive prompts, `{"prompts": [...]}`: a single shot whose
  prompt changes, so every segment continues it. The format has no lengths;
  LongLive's configuration switches every 40 latent frames of 4 pixel frames at
  16 fps, that is every PROMPT_SECS.
* Plain prompts: each line is a film of PROMPT_SECS.
* HoloCine text (arXiv 2510.20822): `[global caption] … [per shot caption] …
  [shot cut] …`; its FILM_SECS (241 frames at 16 fps) are split evenly.

Every function returns a document in the format of `screenplay`, and raises
UserError that names the file, the shot and the field.
"""

import json
import pathlib
import re
import reprlib
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.texts import read_text

PROMPT_SECS = 10.0
FILM_SECS = 15.0
DURATIONS = 'shot_durations.txt'

Document = dict[str, Any]


def parse_json(text: str, where: str) -> Any:
  try:
    return json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f'{where}: is not JSON ({error})') from error


def interactive_prompts(document: Document, where: str) -> Document:
  prompts = document['prompts']
  if not isinstance(prompts, list) or not prompts:
    raise UserError(
      f'{where}: prompts must be a list of texts, not {reprlib.repr(prompts)}'
    )
  return {
    'segments': [
      {'prompt': prompt, 'secs': PROMPT_SECS, 'cut': False}
      for prompt in prompts
    ]
  }


def plain_prompt(line: str) -> Document:
  return {'segments': [{'prompt': line, 'secs': PROMPT_SECS}]}


def is_holocine(text: str) -> bool:
  return '[per shot caption]' in text.lower()


def holocine(text: str, where: str) -> Document:
  """The document of one film; each `[shot cut]` starts the next shot."""
  opening, shots = re.split(r'(?i)\[per shot caption\]', text, maxsplit=1)
  # Every chunk reads the caption, and none of them shows all shots.
  caption = re.sub(r'(?i)this scene contains \d+ shots?\.?', '', opening)
  caption = re.sub(r'(?i)\[global caption\]', '', caption).strip()
  prompts = [part.strip() for part in re.split(r'(?i)\[shot cut\]', shots)]
  for shot, prompt in enumerate(prompts):
    if not prompt:
      raise UserError(f'{where}: shot {shot} has an empty per shot caption')
  secs = FILM_SECS / len(prompts)
  return {
    'global_prompt': caption,
    'segments': [{'prompt': prompt, 'secs': secs} for prompt in prompts],
  }


def is_shot_folder(path: pathlib.Path) -> bool:
  return (path / '0.json').is_file()


def shot_folder(path: pathlib.Path, chunks: int | None) -> Document:
  """The shots of a folder, fitted to `chunks` if that is given."""
  files = sorted(
    (file for file in path.glob('*.json') if file.stem.isdigit()),
    key=lambda file: int(file.stem),
  )
  shots = [_shot(file, number) for number, file in enumerate(files)]
  durations = _durations(path, shots, chunks)
  if chunks is not None:
    durations = _fit(durations, chunks)
  return {
    'title': path.name.replace('_', ' '),
    'segments': [
      {'prompt': shot['caption'], 'chunks': duration}
      # Shots after the end of a shortened film have no duration.
      for shot, duration in zip(shots, durations, strict=False)
    ],
  }


def _shot(file: pathlib.Path, number: int) -> Document:
  if int(file.stem) != number:
    raise UserError(f'{file}: shot {number} is missing; name shots from 0.json')
  shot = parse_json(read_text(file), str(file))
  caption = shot.get('caption') if isinstance(shot, dict) else None
  if not isinstance(caption, str) or not caption.strip():
    raise UserError(f'{file}: shot {number} lacks a text in caption')
  return shot


def _durations(
  path: pathlib.Path, shots: list[Document], chunks: int | None
) -> list[int]:
  file = path / DURATIONS
  if file.is_file():
    return _written_durations(file, len(shots))
  if all(isinstance(shot.get('num_blocks'), int) for shot in shots):
    return [shot['num_blocks'] for shot in shots]
  if chunks is None:
    raise UserError(
      f'{path}: no lengths; write the chunks of each shot to {DURATIONS}'
    )
  share, rest = divmod(chunks, len(shots))
  return [share + (shot < rest) for shot in range(len(shots))]


def _written_durations(file: pathlib.Path, n_shots: int) -> list[int]:
  words = read_text(file).split()
  for shot, word in enumerate(words):
    if not word.isdecimal() or not int(word):
      raise UserError(f'{file}: shot {shot} lasts {word!r}; give whole chunks')
  if len(words) != n_shots:
    raise UserError(f'{file}: {len(words)} lengths for {n_shots} shots')
  return [int(word) for word in words]


def _fit(durations: list[int], chunks: int) -> list[int]:
  """Durations that sum to `chunks`, by shorter last shots or a longer last."""
  fitted, left = [], chunks
  for duration in durations:
    if left:
      fitted.append(min(duration, left))
      left -= fitted[-1]
  return [*fitted[:-1], fitted[-1] + left]
