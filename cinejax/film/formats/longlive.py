"""LongLive (NVlabs/LongLive), versions 1 and 2.

* Shot folders: `<i>.json` from 0 or from 1 with a `caption` for each shot, and
  `shot_durations.txt` with the blocks of each shot, between commas, spaces or
  lines; a block is a chunk. Lengths come from that file, or else from
  `num_blocks` of each shot, or else from an even split of a given total, whose
  remainder goes to the first shots.
* Interactive prompts, `{"prompts": [...]}`: a single shot whose prompt changes,
  so every segment continues it. The format has no lengths; LongLive's
  configuration switches every 40 latent frames of 4 pixel frames at 16 fps,
  that is every PROMPT_SECS.
"""

import pathlib
import reprlib

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import PROMPT_SECS, Document, parse_json
from cinejax.film.texts import read_text

DURATIONS = 'shot_durations.txt'


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


def is_shot_folder(path: pathlib.Path) -> bool:
  return bool(numbered(path)) and int(numbered(path)[0].stem) <= 1


def numbered(path: pathlib.Path) -> list[pathlib.Path]:
  """The files <number>.json of a folder, in order of number."""
  files = (file for file in path.glob('*.json') if file.stem.isdecimal())
  return sorted(files, key=lambda file: int(file.stem))


def shot_folder(path: pathlib.Path, chunks: int | None) -> Document:
  """The shots of a folder, fitted to `chunks` if that is given."""
  files = numbered(path)
  first = int(files[0].stem)
  shots = [_shot(file, number) for number, file in enumerate(files, first)]
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
  words = read_text(file).replace(',', ' ').split()
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
