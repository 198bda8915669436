"""The training loop of a stage: updates, metrics, saves, and a clean stop.

After a signal to any process, all processes save and stop after the same update
(training/stop.py). A bad update, which is not finite or a spike, stops the run
before it reaches a checkpoint; the error names the batch by `films_consumed`.
With config.stage.NAME.on_spike=skip it is logged and skipped.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from absl import logging
from jax.sharding import NamedSharding

from cinejax.core.errors import UserError
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.config import TrainConfig
from cinejax.training.metrics import (
  DelayedMetrics,
  MeanMetrics,
  MetricWriter,
  Row,
  ThroughputMeter,
  Work,
)
from cinejax.training.profile import Profile
from cinejax.training.progress import ProgressDisplay
from cinejax.training.state import TrainState
from cinejax.training.steps import Batch, Metrics, place
from cinejax.training.stop import Stopped, StopSignal

# So many bad updates in a row are not the fault of a batch: the run stops.
MAX_BAD_UPDATES = 10

StepFn = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def train(
  step_fn: StepFn,
  state: TrainState,
  batches: Iterator[dict[str, Any]],
  *,
  name: str,
  steps: int,
  cfg: TrainConfig,
  batch_sharding: NamedSharding,
  checkpoints: Checkpoints,
  writer: MetricWriter,
  display: ProgressDisplay,
  work: Work = Work(),  # noqa: B008
  skips: bool = False,
  profile: Profile | None = None,
  sample_fn: Callable[[TrainState, int], None] | None = None,
  probe_fn: Callable[[TrainState], Row] | None = None,
) -> TrainState:
  """Updates `state` until `steps` updates are done, and saves the last state.

  Args:
    step_fn: (state, batch) -> (state, metrics); donates the state.
    state: the state to start from; its buffers are donated.
    batches: the rows of this process, from state.films_consumed on.
    name: the name of the stage, for messages.
    steps: the last update, counted from the start of the stage.
    cfg: how often to log, save, sample and probe.
    batch_sharding: the sharding of every array of a batch.
    checkpoints: where states are saved.
    writer: where metrics are written.
    display: where progress is shown.
    work: the work of one update.
    skips: whether step_fn leaves the state as it is in a bad update, so that
      training can continue.
    profile: traces some updates.
    sample_fn: (state, step) -> None, called every `cfg.sample_every_steps`.
    probe_fn: state -> metrics of held-out films, called every
      `cfg.probe_every_steps` and at the end.

  Returns:
    The state after the last update.

  Raises:
    Stopped: a signal came; the state is saved.
    UserError: an update is bad, or, if bad updates are skipped, too many are.
  """
  step = int(state.step)
  delayed, means = DelayedMetrics(), MeanMetrics()
  meter = ThroughputMeter(step, steps, work)
  guard = UpdateGuard(name, skips, checkpoints)

  def log(ready: tuple[int, Row] | None) -> None:
    if ready is None:
      return
    done, row = ready
    guard.check(done, row)
    display.advance(done)
    means.add(row)
    if done % cfg.log_every_steps == 0 or done == steps:
      row = means.take() | meter.measure(done)
      writer.write(done, row)
      display.report(done, row)

  with StopSignal() as stop, contextlib.ExitStack() as at_exit:
    at_exit.callback(checkpoints.wait)
    if profile is not None:
      at_exit.callback(profile.close)
    while step < steps:
      start = time.monotonic()
      rows = next(batches)
      meter.add_wait(time.monotonic() - start)
      if profile is not None:
        profile.before(step + 1)
      signalled = stop.anywhere(batch_sharding.mesh)
      state, metrics = step_fn(state, place(rows, batch_sharding))
      step += 1
      if profile is not None:
        profile.after(step, metrics)
      log(delayed.swap(step, metrics))
      stopping = signalled()
      if stopping or step == steps or step % cfg.save_every_steps == 0:
        log(delayed.take())
        checkpoints.save(step, state, guard.mean_loss())
      if stopping and step < steps:
        raise Stopped(
          f'{name} stopped at step {step} of {steps} and saved; the same '
          'command continues from there'
        )
      if probe_fn and cfg.probe_every_steps:
        if step % cfg.probe_every_steps == 0 or step == steps:
          row = probe_fn(state)
          writer.write(step, row)
          display.report_recall(step, row)
      if sample_fn and cfg.sample_every_steps:
        if step % cfg.sample_every_steps == 0:
          sample_fn(state, step)
  return state


class UpdateGuard:
  """Detects bad updates, and averages the losses of the good ones.

  Args:
    name: the name of the stage.
    skips: whether a few bad updates in a row are only logged.
    checkpoints: names the last good state in the error.
  """

  def __init__(self, name: str, skips: bool, checkpoints: Checkpoints):
    self._name, self._skips, self._checkpoints = name, skips, checkpoints
    self._bad = 0  # in a row
    self._losses: list[float] = []

  def check(self, step: int, row: Row) -> None:
    """Raises UserError if update `step` was bad and the run must stop."""
    if not row['bad']:
      self._bad = 0
      self._losses.append(row['loss'])
      return
    self._bad += 1
    description = (
      f'{self._name}: loss {row["loss"]}, gradient norm {row["grad_norm"]} at '
      f'step {step}, films_consumed {row["films_consumed"]}'
    )
    if self._skips and self._bad < MAX_BAD_UPDATES:
      logging.warning('%s; skipped', description)
      return
    good = self._checkpoints.latest_step
    saved = f'checkpoint {good} is good' if good else 'nothing is saved'
    raise UserError(
      f'{description}; {saved}; set a lower '
      f'config.stage.{self._name}.learning_rate'
    )

  def mean_loss(self) -> float:
    """The mean loss of good updates since the last call.

    Infinite if there are none.
    """
    losses, self._losses = self._losses, []
    return sum(losses) / len(losses) if losses else math.inf
