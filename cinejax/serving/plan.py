"""The directions that wait for later chunks of a film."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.film.journal import Segment, Settings
from cinejax.serving.directions import ChunkDirection


class PlannedDirection(NamedTuple):
  chunk: int
  direction: ChunkDirection
  received: float | None  # time of arrival; None: it was not for at once


class PlanState(NamedTuple):
  """What a plan was at some moment."""

  directions: tuple[PlannedDirection, ...]
  end_chunk: int | None


class Plan:
  """Directions in the order of their chunks."""

  def __init__(self, write: Callable[[dict[str, Any]], None] | None = None):
    """An empty plan.

    Args:
      write: called with a record of each change (film/record.py), except for
        `take_due` and `clear`, which follow from records of the film.
    """
    self.directions: list[PlannedDirection] = []
    self._taken: list[PlannedDirection] = []  # by the chunk in flight
    self._end_chunk: int | None = None
    self._write = write
    self.held_until = 0  # the chunk up to which the last prompt must hold

  @property
  def end_chunk(self) -> int | None:
    """Where a screenplay ends; None: nowhere."""
    return self._end_chunk

  @end_chunk.setter
  def end_chunk(self, chunk: int | None) -> None:
    if chunk != self._end_chunk:
      self._end_chunk = chunk
      self._write_all()

  def add(
    self,
    chunk: int,
    direction: ChunkDirection,
    received: float | None = None,
    **fields: Any,
  ) -> None:
    """Adds a direction; UserError, and no change, if it cannot be recorded.

    Args:
      chunk: for which it is.
      direction: what it says.
      received: see PlannedDirection.
      **fields: of its record, beside it.
    """
    if self._write is not None:
      record = {'add': [chunk, dataclasses.asdict(direction)]}
      self._write(record | fields)
    self._insert(PlannedDirection(chunk, direction, received))

  def due(self, chunk: int) -> list[PlannedDirection]:
    """The directions for `chunk` and those before it."""
    return [one for one in self.directions if one.chunk <= chunk]

  def take_due(self, chunk: int) -> PlannedDirection | None:
    """Removes the directions that are due and merges them into one.

    They are recorded as planned until their chunk is finished.
    """
    self._taken = due = self.due(chunk)
    if not due:
      return None
    self.directions = self.directions[len(due) :]
    direction = due[0].direction
    for planned in due[1:]:
      direction = direction.merged(planned.direction)
    return due[0]._replace(direction=direction)

  def add_rest(
    self,
    segments: Sequence[Segment],
    lengths: Sequence[int],
    first_chunk: int,
    now: float | None = None,
  ) -> None:
    """Plans the rest of a screenplay, and its end.

    Args:
      segments: all of its segments.
      lengths: of these, in chunks.
      first_chunk: where the rest begins; a segment that has begun is not in it.
      now: when a segment that starts there was received.
    """
    chunk = 0
    for segment, length in zip(segments, lengths, strict=True):
      if chunk >= first_chunk:
        direction = ChunkDirection.of_segment(segment, chunk)
        self.add(chunk, direction, now if chunk == first_chunk else None)
      chunk += length
    self.end_chunk = chunk

  def segments(self, first_chunk: int, stop: int) -> Iterator[Segment | None]:
    """The segment that each chunk before the end `stop` starts.

    None: it starts none. Afterwards the plan has no end.
    """
    for chunk in range(first_chunk, stop):
      planned = self.take_due(chunk)
      yield None if planned is None else planned.direction.segment('')
    self.end_chunk = None

  def forget_taken(self) -> None:
    """The chunk of the directions of `take_due` is finished."""
    self._taken = []

  def keep_due(self, chunk: int, **fields: Any) -> None:
    """Forgets all directions but those that are due; `fields` as in `add`."""
    self.replace(self.due(chunk), None, **fields)
    self.held_until = 0

  def replace(
    self,
    directions: Sequence[PlannedDirection],
    end_chunk: int | None,
    **fields: Any,
  ) -> None:
    """Plans other directions; UserError, and no change, as in `add`."""
    before = self.state()
    taken = len(self._taken)
    self._put(directions, end_chunk)
    try:
      self._write_all(**fields)
    except UserError:
      self._put(before.directions[taken:], before.end_chunk)
      raise

  def clear(self) -> None:
    self.directions, self._end_chunk, self._taken = [], None, []
    self.held_until = 0

  def state(self) -> PlanState:
    """The plan with what the chunk in flight took from it."""
    planned = (*self._taken, *self.directions)
    return PlanState(
      tuple(one._replace(received=None) for one in planned), self.end_chunk
    )

  def restore(self, state: PlanState, first: int, moved: bool) -> None:
    """Takes the directions of `state` for chunks from `first` on.

    Args:
      state: of an earlier plan of the film.
      first: what was planned for the chunks before it is over.
      moved: whether the film goes elsewhere, so that no chunk is in flight.
    """
    if moved:
      self._taken = []
    later = [one for one in state.directions if one.chunk >= first]
    self._put(later, state.end_chunk)

  def to_json(self) -> dict[str, Any]:
    """The plan as a JSON object that `load` reads."""
    return {
      'until': self.end_chunk,
      'plan': [
        [one.chunk, dataclasses.asdict(one.direction)]
        for one in (*self._taken, *self.directions)
      ],
    }

  def load(self, document: dict[str, Any]) -> None:
    """Adds the directions of `to_json`, and takes its end if it has one."""
    for chunk, fields in document.get('plan', ()):
      settings = Settings(*fields['settings'])
      direction = ChunkDirection(**(fields | {'settings': settings}))
      self._insert(PlannedDirection(chunk, direction, None))
    self._end_chunk = document.get('until') or self._end_chunk
    self._write_all()

  @contextlib.contextmanager
  def at_once(self) -> Iterator[None]:
    """Records all changes of a with block in one record at its end."""
    write, self._write = self._write, None
    try:
      yield
    finally:
      self._write = write
      self._write_all()

  def _put(
    self, directions: Sequence[PlannedDirection], end_chunk: int | None
  ) -> None:
    self.directions, self._end_chunk, self.held_until = [], end_chunk, 0
    for planned in directions:
      self._insert(planned)

  def _insert(self, planned: PlannedDirection) -> None:
    self.directions.append(planned)
    self.directions.sort(key=lambda planned: planned.chunk)
    if planned.direction.chunks > 1:
      self.held_until = planned.chunk + planned.direction.chunks

  def _write_all(self, **fields: Any) -> None:
    if self._write is not None:
      self._write({'plan': self.to_json()} | fields)
