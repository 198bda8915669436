"""Metrics: fetched one update late, written as JSONL and TensorBoard.

Reading the metrics of the update just dispatched would make the host wait for
the device; those of the update before are ready or nearly so.

Both files are append-only. A run that is stopped and resumed repeats the
updates since its last save: of two rows with one step, the later counts (the
TensorBoard file says so itself, by purge_step).
"""

import json
import pathlib
import time
from collections.abc import Mapping

import jax
import tensorboardX

Row = dict[str, float]


class OneLate:
  """Holds the metrics of one update on the device until the next one."""

  def __init__(self) -> None:
    self._held: tuple[int, Mapping[str, jax.Array]] | None = None

  def swap(
    self, step: int, metrics: Mapping[str, jax.Array]
  ) -> tuple[int, Row] | None:
    """Takes an update's metrics, gives the previous one's as numbers."""
    ready = self.take()
    self._held = (step, metrics)
    return ready

  def take(self) -> tuple[int, Row] | None:
    """Gives what is held, waiting for it."""
    if self._held is None:
      return None
    (step, metrics), self._held = self._held, None
    row = {name: x.item() for name, x in jax.device_get(metrics).items()}
    return step, row


class Pace:
  """Steps a second since the last look, and the seconds left."""

  def __init__(self, step: int, steps: int):
    self._steps = steps
    self._step, self._secs = step, time.monotonic()

  def look(self, step: int) -> Row:
    """`steps_per_sec` since the last look, and `secs_left` at that rate."""
    now = time.monotonic()
    rate = (step - self._step) / max(now - self._secs, 1e-9)
    self._step, self._secs = step, now
    return {
      'steps_per_sec': rate,
      'secs_left': (self._steps - step) / rate,
    }


class MetricWriter:
  """Appends rows to `folder`/metrics/STAGE.jsonl and to TensorBoard's file."""

  def __init__(self, folder: pathlib.Path, stage: str, first_step: int):
    folder = folder / 'metrics'
    folder.mkdir(parents=True, exist_ok=True)
    self._file = (folder / f'{stage}.jsonl').open('a', buffering=1)
    self._board = tensorboardX.SummaryWriter(
      str(folder / 'tensorboard' / stage),
      purge_step=first_step + 1,
      flush_secs=10,
    )

  def write(self, step: int, row: Row) -> None:
    self._file.write(json.dumps({'step': step} | row) + '\n')
    for name, value in row.items():
      self._board.add_scalar(name, value, step)

  def __enter__(self) -> 'MetricWriter':
    return self

  def __exit__(self, *_: object) -> None:
    self._file.close()
    self._board.close()
