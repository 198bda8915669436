"""Moves of the camera for successive latent frames, as minWM writes them.

`w*8,a*4` is eight latent frames of moving forward and four of moving left. The
keys are

  w s a d u dn   forward, backward, left, right, up, down
  j l i k        turning left, right, up, down

and `-` is no move. How far a move goes is the model's (models/camera.py).
"""

import re
from collections.abc import Sequence

from cinejax.core.errors import UserError

KEYS = ('w', 's', 'a', 'd', 'u', 'dn', 'j', 'l', 'i', 'k')
NONE = '-'

_ENTRY = re.compile(r'\s*([a-z]+|-)\s*(?:\*\s*(\d{1,6})\s*)?')


def parse(text: str, where: str) -> tuple[str, ...]:
  """The key of each latent frame.

  Raises UserError that begins with `where` if the text is no list of moves.
  """
  keys: list[str] = []
  for entry in text.split(','):
    found = _ENTRY.fullmatch(entry)
    if found is None or found[1] not in (*KEYS, NONE):
      raise UserError(
        f'{where} has {entry.strip()!r}; moves are such as w*8,a*4 with the '
        f'keys {", ".join(KEYS)} and {NONE}'
      )
    keys += [found[1]] * int(found[2] or 1)
  return tuple(keys)


def write(keys: Sequence[str]) -> str:
  """The text that `parse` reads as these keys."""
  parts: list[list[str]] = []
  for key in keys:
    if parts and parts[-1][0] == key:
      parts[-1].append(key)
    else:
      parts.append([key])
  return ','.join(f'{own[0]}*{len(own)}' for own in parts)


def of_chunk(text: str, chunk: int, frames: int) -> list[list[str]]:
  """The moves of each latent frame of a chunk: one name, or none.

  Args:
    text: the moves of a segment, from its first latent frame on.
    chunk: of the segment, from 0.
    frames: latent frames of a chunk.
  """
  keys = parse(text, 'camera')[chunk * frames : (chunk + 1) * frames]
  names = [[] if key == NONE else [key] for key in keys]
  return names + [[] for _ in range(frames - len(names))]
