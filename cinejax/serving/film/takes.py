"""The takes of a film: all chunks that were generated for it, as a tree.

Chunks have the numbers 0, 1, .. in which they were recorded, and each has the
chunk before it as its parent. The film is the path from the first chunk to one
of them, its end. A film that goes back and takes another way gives a chunk a
second child. From there on, the chunks that it left are another take: they stay
recorded, and the film can return to them.

A take has the number of its first chunk, and ends where the film was when it
left this take last. Takes that begin after the same chunk are alternatives of
one another and have labels from 1 in the order in which they were generated.
"""

import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.film.journal import Journal, Segment

ROOT = -1  # the parent of first chunks, and the end of a film without chunks


class Take(NamedTuple):
  """Chunks that the film left."""

  number: int
  label: int
  chunk: int  # of the film, in whose place its first chunk is
  shot: int  # of that chunk, from 0
  prompt: str  # of that chunk
  path: array.array  # its chunks, by number

  def to_json(self) -> dict[str, Any]:
    """The take for clients."""
    return {
      'take': self.number,
      'label': self.label,
      'shot': self.shot,
      'prompt': self.prompt,
      'chunks': len(self.path),
      'stored': runs(self.path, self.chunk),
    }


class Alternatives(NamedTuple):
  """The takes of one place of the film."""

  chunk: int
  label: int | None  # of the film's own take; None: it ends before this chunk
  takes: tuple[Take, ...]

  def to_json(self) -> dict[str, Any]:
    """The takes for clients."""
    takes = [take.to_json() for take in self.takes]
    return {'chunk': self.chunk, 'label': self.label, 'takes': takes}


class ChunkTree:
  """The chunks of a film, the path that is the film, and its deleted takes."""

  def __init__(self) -> None:
    self.path = array.array('l')  # the chunks of the film, by number
    self._parents = array.array('l')
    self._opened: dict[int, Segment] = {}  # by its first chunk
    self._ends: dict[
      int, None
    ] = {}  # that the film has left, the last one last
    self._hidden: frozenset[int] = frozenset()
    self._alternatives: tuple[Alternatives, ...] | None = None

  @property
  def end(self) -> int:
    """The last chunk of the film, or ROOT."""
    return self.path[-1] if self.path else ROOT

  @property
  def hidden(self) -> frozenset[int]:
    """The numbers of the deleted takes."""
    return self._hidden

  @hidden.setter
  def hidden(self, takes: frozenset[int]) -> None:
    self._hidden, self._alternatives = takes, None

  def add(self, segment: Segment | None) -> None:
    """Adds a chunk to the film, which opens `segment` unless that is None."""
    if any(one.chunk == len(self.path) for one in self._alternatives or ()):
      self._alternatives = None  # it belongs to another take of this place
    number = len(self._parents)
    self._parents.append(self.end)
    if segment is not None:
      self._opened[number] = segment
    self.path.append(number)

  def extend(self, segments: Iterable[Segment]) -> None:
    """Adds all chunks of some segments."""
    for segment in segments:
      for number in range(segment.chunks):
        self.add(None if number else segment)

  def at(self, chunks: int) -> int:
    """The end of the film if it had only its first `chunks`."""
    return self.path[chunks - 1] if chunks else ROOT

  def go(self, end: int, leave: bool = True) -> None:
    """Makes the path to `end` the film.

    Args:
      end: a chunk, or ROOT.
      leave: whether the present end stays as a take; it must not if its chunks
        are damaged.
    """
    if leave and self.path:
      self._ends.pop(self.end, None)
      self._ends[self.end] = None
    self.path = self.path_to(end)
    self._alternatives = None

  def forget_takes(self) -> None:
    """Only the film stays, such as for another model."""
    self._ends, self._alternatives = {}, None

  def path_to(self, end: int) -> array.array:
    """The chunks from the first one to `end`."""
    path = array.array('l')
    while end != ROOT:
      path.append(end)
      end = self._parents[end]
    path.reverse()
    return path

  def journal(
    self, cut_prefix: str, path: Sequence[int] | None = None
  ) -> Journal:
    """The journal of the film, or of another path; see film/journal.py."""
    journal = Journal(cut_prefix)
    for number in self.path if path is None else path:
      if number in self._opened:
        journal.add(self._opened[number])
      journal.next_chunk()
    return journal

  def alternatives(self) -> tuple[Alternatives, ...]:
    """The other takes of the film, in the order of their places."""
    if self._alternatives is None:
      self._alternatives = tuple(self._find())
    return self._alternatives

  def take(self, number: int) -> Take:
    """A take of `alternatives`; UserError if there is none of this number."""
    for one in self.alternatives():
      for take in one.takes:
        if take.number == number:
          return take
    raise UserError(f'there is no take {number} beside the film')

  def _find(self) -> Iterable[Alternatives]:
    places = {number: chunk for chunk, number in enumerate(self.path)}
    places[ROOT] = -1
    # The paths off the film, by place and first chunk; the last end counts.
    found: dict[int, dict[int, array.array | None]] = {}
    for end in reversed(self._ends):
      path = array.array('l')
      while end not in places:
        path.append(end)
        end = self._parents[end]
      if not path:
        continue
      takes = found.setdefault(places[end] + 1, {})
      shown = self._hidden.isdisjoint(path)
      path.reverse()
      if takes.get(path[0]) is None:
        takes[path[0]] = path if shown else None
    for chunk in sorted(found):
      own = self.path[chunk] if chunk < len(self.path) else None
      siblings = {*found[chunk]} | ({own} if own is not None else set())
      labels = {number: n for n, number in enumerate(sorted(siblings), 1)}
      takes = tuple(
        self._take(number, labels[number], chunk, path)
        for number, path in sorted(found[chunk].items())
        if path is not None
      )
      if takes:
        yield Alternatives(chunk, labels.get(own), takes)

  def _take(
    self, number: int, label: int, chunk: int, path: array.array
  ) -> Take:
    prompt = self.journal('', self.path_to(number)).prompts()[-1]
    return Take(number, label, chunk, prompt.shot, prompt.prompt, path)


def shared_chunks(path: Sequence[int], other: Sequence[int]) -> int:
  """The number of chunks with which two paths begin."""
  shared = 0
  for number, same in zip(path, other, strict=False):
    if number != same:
      break
    shared += 1
  return shared


def runs(path: Sequence[int], chunk: int = 0) -> list[list[int]]:
  """A path as [chunk of the film, number of the stored chunk, count] of runs.

  `chunk` is that of the first one.
  """
  found: list[list[int]] = []
  for place, number in enumerate(path, chunk):
    if found and number == found[-1][1] + found[-1][2]:
      found[-1][2] += 1
    else:
      found.append([place, number, 1])
  return found
