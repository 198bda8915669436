"""Metrics: fetched one update late, written as JSONL and TensorBoard.

Reading the metrics of the update just dispatched would make the host wait for
the device; those of the update before are ready or nearly so. A row is the mean
of the updates since the row before.

Both files are append-only. A run that is stopped and resumed repeats the
updates since its last save: of two rows with one step, the later counts (the
TensorBoard file says so itself, by purge_step). Weights & Biases, where asked
for, gets the same rows.

  mfu = (model's FLOPs of an update) (updates a second) / (devices' peak)  (1)
"""

import dataclasses
import json
import math
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import jax
import tensorboardX

from cinejax.core.errors import UserError

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


class Means:
  """Of each metric since it was asked before, `films_consumed` the last.

  What an update does not measure, as DMD's student when it is not its turn, is
  NaN in that update, and absent where no update has measured it.
  """

  def __init__(self) -> None:
    self._rows: list[Row] = []

  def add(self, row: Row) -> None:
    self._rows.append(row)

  def take(self) -> Row:
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
  """What one update does, over all devices; 0 = not known."""

  tokens: int = 0  # of the batch's films, each once
  flops: int = 0  # of the model: nothing that is computed twice
  peak_flops: float = 0.0  # a second, of all devices


class Pace:
  """Steps a second since the last look, and what follows from it."""

  def __init__(self, step: int, steps: int, work: Work = Work()):
    self._steps, self._work = steps, work
    self._step, self._secs = step, time.monotonic()
    self._waited = 0.0

  def waited(self, secs: float) -> None:
    """The next batch was not ready for so long."""
    self._waited += secs

  def look(self, step: int) -> Row:
    """Rates since the last look; `secs_left` at that rate.

    `tokens_per_sec` and, eq. (1), `mfu` where they are known;
    `data_wait_secs` of one update.
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
  """`peak_memory_bytes` of this process's first device, if it counts them."""
  stats = jax.local_devices()[0].memory_stats() or {}
  peak = stats.get('peak_bytes_in_use')
  return {} if peak is None else {'peak_memory_bytes': peak}


class MetricWriter:
  """Appends rows to `folder`/metrics/STAGE.jsonl and to TensorBoard's file.

  Of several processes only the first writes; `wandb_project` also sends them
  to Weights & Biases. Raises UserError where that is not installed.
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
    folder.mkdir(parents=True, exist_ok=True)
    self._file = (folder / f'{stage}.jsonl').open('a', buffering=1)
    self._board = tensorboardX.SummaryWriter(
      str(folder / 'tensorboard' / stage),
      purge_step=first_step + 1,
      flush_secs=10,
    )
    self._run = _wandb_run(wandb_project, folder, stage)

  def write(self, step: int, row: Row) -> None:
    if not self._writes:
      return
    self._file.write(json.dumps({'step': step} | row) + '\n')
    for name, value in row.items():
      self._board.add_scalar(name, value, step)
    if self._run is not None:
      self._run.log(row, step=step)

  def __enter__(self) -> 'MetricWriter':
    return self

  def __exit__(self, *_: object) -> None:
    if not self._writes:
      return
    self._file.close()
    self._board.close()
    if self._run is not None:
      self._run.finish()


def _wandb_run(project: str, folder: pathlib.Path, stage: str) -> Any:
  """One run for a stage of a workdir, gone on with when it is resumed."""
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
