"""The directions that wait for later chunks of a film."""

import dataclasses
from typing import Any, NamedTuple

from cinejax.film.journal import Settings
from cinejax.serving.directions import ChunkDirection


class PlannedDirection(NamedTuple):
  chunk: int
  direction: ChunkDirection
  received: float | None  # time of arrival; None: it was not for at once


class Plan:
  """Directions in the order of their chunks."""

  def __init__(self):
    self.directions: list[PlannedDirection] = []
    self.end_chunk: int | None = None  # where a screenplay ends

  def add(
    self, chunk: int, direction: ChunkDirection, received: float | None = None
  ) -> None:
    self.directions.append(PlannedDirection(chunk, direction, received))
    self.directions.sort(key=lambda planned: planned.chunk)

  def due(self, chunk: int) -> list[PlannedDirection]:
    """The directions for `chunk` and those before it."""
    return [one for one in self.directions if one.chunk <= chunk]

  def take_due(self, chunk: int) -> PlannedDirection | None:
    """Removes the directions that are due and merges them into one."""
    due = self.due(chunk)
    if not due:
      return None
    self.directions = self.directions[len(due) :]
    direction = due[0].direction
    for planned in due[1:]:
      direction = direction.merged(planned.direction)
    return due[0]._replace(direction=direction)

  def keep_due(self, chunk: int) -> None:
    """Forgets all directions but those that are due."""
    self.directions, self.end_chunk = self.due(chunk), None

  def clear(self) -> None:
    self.directions, self.end_chunk = [], None

  def to_json(self) -> dict[str, Any]:
    """The plan as a JSON object that `load` reads."""
    return {
      'until': self.end_chunk,
      'plan': [
        [one.chunk, dataclasses.asdict(one.direction)]
        for one in self.directions
      ],
    }

  def load(self, document: dict[str, Any]) -> None:
    """Adds the directions of `to_json`, and takes its end if it has one."""
    for chunk, fields in document.get('plan', ()):
      settings = Settings(*fields.pop('settings'))
      self.add(chunk, ChunkDirection(settings=settings, **fields))
    self.end_chunk = document.get('until') or self.end_chunk
