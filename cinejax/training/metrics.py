"""Metrics: fetched one update late, written as JSONL and TensorBoard.

Reading the metrics of the update just dispatched would make the host wait for
the device; those of the update before it are ready or nearly so. A row holds
means over the updates since the row before.

Both files are append-only. A run that is stopped and resumed repeats the
updates since its last save: of two rows with the same step, the later is valid
(TensorBoard hides the earlier by itself). The same rows go to
Weights & Biases if config.train.wandb_project is set.

  mfu = (FLOPs of the model per update) (updates per second) / (peak of the
        devices)                                                           (1)
"""

import contextlib
import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax

from cinejax.core.disk import disk_errors
from cinejax.core.errors import UserError
from cinejax.training.event_file import EventFile

Row = dict[str, float]


class DelayedMetrics:
  """Leaves the metrics of an update on the device until the next update."""

  def __init__(self) -> None:
    self._pending: tuple[int, Mapping[str, jax.Array]] | None = None

  def swap(
    self, step: int, metrics: Mapping[str, jax.Array]
  ) -> tuple[int, Row] | None:
    """Stores the metrics of an update; returns (step, row) of the one before.

    Returns None at the first update.
    """
    ready = self.take()
    self._pending = (step, metrics)
    return ready

  def take(self) -> tuple[int, Row] | None:
    """Removes and returns (step, row) of the stored metrics, or None.

    Waits until the update is done.
    """
    if self._pending is None:
      return None
    (step, metrics), self._pending = self._pending, None
    row = {name: x.item() for name, x in jax.device_get(metrics).items()}
    return step, row


class MeanMetrics:
  """Means of metrics over the updates of a row.

  The value of `films_consumed` is that of the last update. A metric that an
  update does not measure, such as the loss of DMD's student when only the fake
  score is trained, is NaN in that update; it is absent from the row if no
  update measured it.
  """

  def __init__(self) -> None:
    self._rows: list[Row] = []

  def add(self, row: Row) -> None:
    """Adds the metrics of one update."""
    self._rows.append(row)

  def take(self) -> Row:
    """Returns the means since the last call."""
    rows, self._rows = self._rows, []
    measured = {
      name: [row[name] for row in rows if math.isfinite(row[name])]
      for name in rows[-1]
    }
    means = {
      name: sum(values) / len(values)
      for name, values in measured.items()
      if values
    }
    return means | {'films_consumed': rows[-1]['films_consumed']}


@dataclasses.dataclass(frozen=True)
class Work:
  """The work of one update over all devices; 0 = not known.

  Attributes:
    tokens: of the films of the batch, each counted once.
    flops: of the model, without what is computed twice to save memory.
    peak_flops: per second, of all devices.
  """

  tokens: int = 0
  flops: int = 0
  peak_flops: float = 0.0


class ThroughputMeter:
  """Measures the speed of training between two rows.

  Args:
    step: updates done.
    steps: the last update.
    work: the work of one update.
  """

  def __init__(self, step: int, steps: int, work: Work = Work()):
    self._steps, self._work = steps, work
    self._step, self._secs = step, time.monotonic()
    self._waited = 0.0

  def add_wait(self, secs: float) -> None:
    """Adds the time for which the next batch was not ready."""
    self._waited += secs

  def measure(self, step: int) -> Row:
    """The speed since the last call, after `step` updates.

    Returns:
      `steps_per_sec`; `secs_left` at that speed; `data_wait_secs` per update;
      where they are known, `tokens_per_sec`, `mfu` (eq. 1) and
      `peak_memory_bytes`.
    """
    now = time.monotonic()
    steps = step - self._step
    rate = steps / max(now - self._secs, 1e-9)
    row = {
      'steps_per_sec': rate,
      'secs_left': (self._steps - step) / rate,
      'data_wait_secs': self._waited / max(steps, 1),
    }
    if self._work.tokens:
      row['tokens_per_sec'] = self._work.tokens * rate
    if self._work.flops and self._work.peak_flops:
      row['mfu'] = self._work.flops * rate / self._work.peak_flops
    self._step, self._secs, self._waited = step, now, 0.0
    return row | _memory()


def _memory() -> Row:
  """`peak_memory_bytes` of the first device of this process, if known."""
  stats = jax.local_devices()[0].memory_stats() or {}
  peak = stats.get('peak_bytes_in_use')
  return {} if peak is None else {'peak_memory_bytes': peak}


class MetricWriter:
  """Appends rows to FOLDER/metrics/STAGE.jsonl and to a TensorBoard file.

  Only the first of several processes writes.

  Args:
    folder: the working directory of the run.
    stage: the name of the stage.
    first_step: updates done when the writer is made.
    wandb_project: a project of Weights & Biases, which gets the rows too; '' =
      none. Raises UserError if the package is not installed.
  """

  def __init__(
    self,
    folder: pathlib.Path,
    stage: str,
    first_step: int,
    wandb_project: str = '',
  ):
    self._writes = jax.process_index() == 0
    if not self._writes:
      return
    folder = folder / 'metrics'
    self._path = folder / f'{stage}.jsonl'
    with disk_errors(self._path):
      folder.mkdir(parents=True, exist_ok=True)
      self._file = self._path.open('a', buffering=1)
      self._events = EventFile(folder / 'tensorboard' / stage, first_step + 1)
    self._run = _wandb_run(wandb_project, folder, stage)

  def write(self, step: int, row: Row) -> None:
    """Writes the metrics after `step` updates.

    Raises UserError if the disk fails.
    """
    if not self._writes:
      return
    with disk_errors(self._path):
      self._file.write(json.dumps({'step': step} | row) + '\n')
      self._events.write(step, row)
    if self._run is not None:
      self._run.log(row, step=step)

  def __enter__(self) -> 'MetricWriter':
    return self

  def __exit__(self, *_: object) -> None:
    if not self._writes:
      return
    # A disk that fails has failed in `write` too.
    for close in (self._file.close, self._events.close):
      with contextlib.suppress(OSError):
        close()
    if self._run is not None:
      self._run.finish()


def _wandb_run(project: str, folder: pathlib.Path, stage: str) -> Any:
  """The run of a stage of a working directory; a resumed stage continues it."""
  if not project:
    return None
  try:
    import wandb
  except ImportError as error:
    raise UserError(
      f'config.train.wandb_project is {project}, but Weights & Biases is not '
      "installed; pip install 'cinejax[wandb]'"
    ) from error
  name = f'{folder.parent.resolve().name}-{stage}'
  return wandb.init(
    project=project, dir=str(folder), id=name, name=name, resume='allow'
  )
