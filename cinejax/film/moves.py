"""Moves of the camera for successive latent frames, as minWM writes them.

`w*8,a*4` is eight latent frames of moving forward and four of moving left. The
keys are

  w s a d u dn   forward, backward, left, right, up, down
  j l i k        turning left, right, up, down

and `-` is no move. How far a move goes is the model's (models/camera.py).
"""

import functools
import re

from cinejax.core.errors import UserError

KEYS = ('w', 's', 'a', 'd', 'u', 'dn', 'j', 'l', 'i', 'k')
NONE = '-'
MOST = 100_000  # latent frames that a text may move

_ENTRY = re.compile(r'\s*([a-z]+|-)\s*(?:\*\s*(\d{1,6})\s*)?')


@functools.lru_cache(64)  # every chunk of a segment asks for its moves
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
    count = int(found[2] or 1)
    if len(keys) + count > MOST:
      raise UserError(f'{where} has more than {MOST} moves')
    keys += [found[1]] * count
  return tuple(keys)


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
