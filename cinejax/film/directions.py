"""A film as it is directed: a line at a time, while it is being made.

  Ada walks left in the forest, wide shot       from the next chunk on
  cut: Ben jumps on the beach, medium shot      the same, as a new shot
  Ben stands on the beach, medium shot * 3      for 3 chunks at least

A prompt is held until the next line comes. The end of the input ends the
film. What was directed is a screenplay: with the same seed and weights it
makes the same film again.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from cinejax.core.errors import UserError
from cinejax.film.config import MOST_CHUNKS
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment

_LINE = re.compile(
  r'\s*(?P<cut>cut\s*:)?\s*(?P<prompt>.*?)\s*(\*\s*(?P<chunks>\d+)\s*)?$',
  re.IGNORECASE,
)


def parse(line: str) -> Segment:
  """The segment that a line asks for; raises UserError if it asks for none."""
  found = _LINE.match(line.rstrip('\n'))
  if found is None or not found['prompt']:
    raise UserError(f'{line.strip()!r} says nothing to be seen; add a prompt')
  chunks = int(found['chunks'] or 1)
  if not 0 < chunks <= MOST_CHUNKS:
    raise UserError(
      f'{line.strip()!r} asks for {chunks} chunks; it must be 1 to '
      f'{MOST_CHUNKS}'
    )
  return Segment(found['prompt'], chunks=chunks, cut=bool(found['cut']))


class Directions:
  """Iterates over the prompts of chunk after chunk, and remembers them.

  `fault` is what ended the film before its input did, None for nothing.
  """

  def __init__(
    self,
    next_line: Callable[[bool], str | None],
    cut_prefix: str,
    complain: Callable[[UserError], None] | None,
    check: Callable[[str], None] = lambda prompt: None,
  ):
    """Reads from `next_line`.

    Args:
      next_line: wait -> the next line, None when the input has ended; and if
        not `wait`, '' when there is none yet. Raises UserError for a line that
        cannot be read.
      cut_prefix: of the first chunk of a new shot.
      complain: called with the error of a line that cannot be used, which is
        skipped; None: the film ends there.
      check: raises UserError for a prompt that the model cannot take.
    """
    self._next_line = next_line
    self._complain = complain
    self._check = check
    self.error: UserError | None = None
    self._journal = Journal(cut_prefix)

  def film(self, seed: int, title: str = '') -> Film:
    """What has been directed so far."""
    return Film(self._journal.segments, title, seed)

  def __iter__(self) -> Iterator[ChunkPrompt]:
    due = 0
    for made in itertools.count():
      segment = self._listen(wait=not made) if due < 1 else ''
      if segment is None:
        return
      if made == MOST_CHUNKS:
        self.error = UserError(f'a film has {MOST_CHUNKS} chunks at most')
        return
      if segment:
        due = segment.chunks
        self._journal.add(segment)
      yield self._journal.next_chunk()
      due -= 1

  def _listen(self, wait: bool) -> Segment | str | None:
    """The next line that can be used, '' for none yet, None for the end."""
    while True:
      try:
        line = self._next_line(wait)
        if not line:
          return line
        if not line.isspace():
          segment = parse(line)
          self._check(segment.prompt)
          return segment
      except UserError as error:
        if self._complain is None:
          self.error = error
          return None
        self._complain(error)
