"""Directs a film line by line, while it is generated.

  Ada walks left in the forest, wide shot       from the next chunk on
  cut: Ben jumps on the beach, medium shot      the same, as a new shot
  Ben stands on the beach, medium shot * 3      for at least 3 chunks

A prompt holds until the next line arrives. The end of the input ends the film.
The directions form a screenplay: with the same seed and weights it generates
the same film again.
"""

import itertools
import re
from collections.abc import Callable, Iterator

from cinejax.core.errors import UserError
from cinejax.film.config import MAX_CHUNKS
from cinejax.film.journal import ChunkPrompt, Film, Journal, Segment, too_long

_LINE = re.compile(
  r'\s*(?P<cut>cut\s*:)?\s*(?P<prompt>.*?)\s*(\*\s*(?P<chunks>\d+)\s*)?$',
  re.IGNORECASE,
)


def parse(line: str) -> Segment:
  """The segment that a line describes; UserError if it describes none."""
  found = _LINE.match(line.rstrip('\n'))
  if found is None or not found['prompt']:
    raise UserError(f'{line.strip()!r} says nothing to be seen; add a prompt')
  chunks = int(found['chunks'] or 1)
  if not 0 < chunks <= MAX_CHUNKS:
    raise UserError(
      f'{line.strip()!r} asks for {chunks} chunks; it must be 1 to {MAX_CHUNKS}'
    )
  return Segment(found['prompt'], chunks=chunks, cut=bool(found['cut']))


class Directions:
  """Iterates over the prompts of successive chunks, and records them.

  `error` is what ended the film before its input ended, None if nothing did.
  """

  def __init__(
    self,
    next_line: Callable[[bool], str | None],
    cut_prefix: str,
    report_error: Callable[[UserError], None] | None,
    check: Callable[[str], None] = lambda prompt: None,
  ):
    """Reads lines from `next_line`.

    Args:
      next_line: next_line(wait) returns the next line, or None when the input
        has ended. Unless `wait` is true, it returns '' if no line has arrived
        yet. It raises UserError for a line that cannot be read.
      cut_prefix: put before the prompt of the first chunk of a new shot.
      report_error: called with the error of a line that cannot be used, which
        is then skipped. None: such a line ends the film.
      check: raises UserError for a prompt that the model cannot follow.
    """
    self._next_line = next_line
    self._report_error = report_error
    self._check = check
    self.error: UserError | None = None
    self._journal = Journal(cut_prefix)

  def film(self, seed: int, title: str = '') -> Film:
    """The screenplay of the film so far."""
    return Film(self._journal.segments, title, seed)

  def __iter__(self) -> Iterator[ChunkPrompt]:
    for segment in self.segments():
      if segment is not None:
        self._journal.add(segment)
      yield self._journal.next_chunk()

  def segments(
    self, first_chunk: int = 0, remaining: int = 0
  ) -> Iterator[Segment | None]:
    """The segment that each chunk starts; None: it continues the last one.

    Args:
      first_chunk: where the film continues.
      remaining: chunks for which the last line still has to hold.
    """
    for chunk in itertools.count(first_chunk):
      segment = self._next_segment(wait=not chunk) if remaining < 1 else ''
      if segment is None:
        return
      if chunk == MAX_CHUNKS:
        self.error = UserError(too_long(MAX_CHUNKS))
        return
      if segment:
        remaining = segment.chunks
      yield segment or None
      remaining -= 1

  def _next_segment(self, wait: bool) -> Segment | str | None:
    """The next usable line; '' if there is none yet, None at the end."""
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
        if self._report_error is None:
          self.error = error
          return None
        self._report_error(error)
