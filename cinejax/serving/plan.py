"""The directions that wait for later chunks of a film."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from cinejax.film.journal import Settings
from cinejax.serving.directions import ChunkDirection


class PlannedDirection(NamedTuple):
  chunk: int
  direction: ChunkDirection
  received: float | None  # time of arrival; None: it was not for at once


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
    self, chunk: int, direction: ChunkDirection, received: float | None = None
  ) -> None:
    """Adds a direction; UserError, and no change, if it cannot be recorded."""
    if self._write is not None:
      self._write({'add': [chunk, dataclasses.asdict(direction)]})
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

  def forget_taken(self) -> None:
    """The chunk of the directions of `take_due` is finished."""
    self._taken = []

  def keep_due(self, chunk: int) -> None:
    """Forgets all directions but those that are due."""
    self.directions, self._end_chunk = self.due(chunk), None
    self.held_until = 0
    self._write_all()

  def clear(self) -> None:
    self.directions, self._end_chunk, self._taken = [], None, []
    self.held_until = 0

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

  def _insert(self, planned: PlannedDirection) -> None:
    self.directions.append(planned)
    self.directions.sort(key=lambda planned: planned.chunk)
    if planned.direction.chunks > 1:
      self.held_until = planned.chunk + planned.direction.chunks

  def _write_all(self) -> None:
    if self._write is not None:
      self._write({'plan': self.to_json()})
