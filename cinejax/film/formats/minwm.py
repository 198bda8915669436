"""minWM (shengshu-ai/minWM): captions with moves of the camera.

`trajectory` is `key*N` and `pose_str` is `word-N`, joined by commas, where N
counts latent frames of 4 frames at 16 fps, after a first frame without a move.
Their sum is the length of a film, 19 if it is not given.
"""

import re
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.formats.parsing import FPS, Document, note_unused

_LATENTS = 19  # of a film
_MOVE = r'\s*[A-Za-z_]+[*-](\d+)\s*'
_MOVES = re.compile(rf'{_MOVE}(,{_MOVE})*')
_FIELDS = ('trajectory', 'pose_str')
_WORDS = {'up': 'i', 'down': 'k', 'left': 'j', 'right': 'l'}  # of pose_str


def matches(value: Any) -> bool:
  entries = value if isinstance(value, list) else [value]
  return bool(entries) and all(
    isinstance(entry, dict)
    and 'caption' in entry
    and any(field in entry for field in _FIELDS)
    for entry in entries
  )


def read(value: Any, where: str) -> list[Document]:
  films, unused = [], set()
  for index, entry in enumerate(value if isinstance(value, list) else [value]):
    unused |= entry.keys() - {'id', 'caption', *_FIELDS}
    latents, camera = _LATENTS, {}
    for field in _FIELDS:
      if field in entry:
        if not isinstance(entry[field], str) or not is_moves(entry[field]):
          raise UserError(
            f'{where}: [{index}].{field} must be moves such as w*8,a*4'
          )
        latents = sum(map(int, re.findall(r'\d+', entry[field])))
        camera = {'camera': _moves(entry[field])}
    segment = {'prompt': entry['caption'], 'secs': (4 * latents + 1) / FPS}
    segment |= camera
    films.append({'segments': [segment]})
  note_unused(where, 'minWM', unused)
  return films


def is_moves(text: str) -> bool:
  """Whether a line holds moves of the camera and no caption."""
  return _MOVES.fullmatch(text) is not None


def _moves(text: str) -> str:
  """Moves as film/moves.py has them, which are checked there."""
  entries = re.findall(r'([A-Za-z_]+)[*-](\d+)', text)
  named = [f'{_WORDS.get(key, key)}*{count}' for key, count in entries]
  return ','.join(['-', *named])
