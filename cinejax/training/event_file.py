"""A file of metrics for TensorBoard."""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary


class EventFile:
  """Scalars by step; every call has written what it was given when it returns.

  tensorboardX's SummaryWriter writes in a thread instead, which ends when the
  disk is full, and whose queue then blocks the training.

  Args:
    folder: of the file, whose name has the time and the host.
    first_step: TensorBoard hides earlier rows of this and later steps, which a
      run that was stopped repeats.
  """

  def __init__(self, folder: pathlib.Path, first_step: int):
    folder.mkdir(parents=True, exist_ok=True)
    self._events = EventsWriter(str(folder / 'events'))
    start = SessionLog(status=SessionLog.START)
    self._write(first_step, session_log=start)

  def write(self, step: int, row: Mapping[str, float]) -> None:
    """Writes one row. Raises OSError if the disk fails."""
    values = [
      Summary.Value(tag=name, simple_value=x) for name, x in row.items()
    ]
    self._write(step, summary=Summary(value=values))

  def close(self) -> None:
    """Closes the file. Raises OSError if the disk fails."""
    self._events.close()

  def _write(self, step: int, **fields: Any) -> None:
    event = Event(wall_time=time.time(), step=step, **fields)
    self._events.write_event(event)
    self._events.flush()
