"""The loop of a stage: updates, rows of metrics, saves, and a clean stop.

A signal to any process saves and stops all, after the same update
(training/stop.py). A bad update, not finite or a spike, stops the run before it
can reach a checkpoint, with the identity of the batch: its `films_consumed`;
or, by config.stage.NAME.on_spike, it is told and skipped.
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
  Means,
  MetricWriter,
  OneLate,
  Pace,
  Row,
  Work,
)
from cinejax.training.profile import Profile
from cinejax.training.progress import Watch
from cinejax.training.state import TrainState
from cinejax.training.steps import Batch, Metrics, place
from cinejax.training.stop import Stopped, StopSignal

MOST_SKIPPED = 10  # bad updates in a row: then the run is lost, not a batch

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
  watch: Watch,
  work: Work = Work(),  # noqa: B008
  skips: bool = False,
  profile: Profile | None = None,
  sample_fn: Callable[[TrainState, int], None] | None = None,
  probe_fn: Callable[[TrainState], Row] | None = None,
) -> TrainState:
  """Updates `state` until `steps` are done, and saves the last one.

  Args:
    step_fn: (state, batch) -> (state, metrics); donates the state.
    batches: this process's rows, from state.films_consumed on.
    name: of the stage, for messages.
    steps: updates in all, those done before included.
    cfg: how often to log, save and sample.
    batch_sharding: of every array of a batch.
    checkpoints: where to save.
    writer: where metrics go.
    watch: what shows them.
    work: what an update does, for rates.
    skips: whether bad updates change nothing, and may be gone on from.
    profile: what traces some updates.
    sample_fn: (state, step) -> None, called every `cfg.sample_every_steps`.
    probe_fn: state -> figures of held-out films, asked for every
      `cfg.probe_every_steps` and at the end.

  Raises:
    Stopped: a signal came; the state is saved.
    UserError: an update is bad, or, where they are skipped, too many are.
  """
  step = int(state.step)
  late, means, pace = OneLate(), Means(), Pace(step, steps, work)
  guard = Guard(name, skips, checkpoints)

  def account(ready: tuple[int, Row] | None) -> None:
    if ready is None:
      return
    done, row = ready
    guard.look(done, row)
    watch.advance(done)
    means.add(row)
    if done % cfg.log_every_steps == 0 or done == steps:
      row = means.take() | pace.look(done)
      writer.write(done, row)
      watch.report(done, row)

  with StopSignal() as stop, contextlib.ExitStack() as last:
    last.callback(checkpoints.wait)
    if profile is not None:
      last.callback(profile.close)
    while step < steps:
      start = time.monotonic()
      rows = next(batches)
      pace.waited(time.monotonic() - start)
      if profile is not None:
        profile.before(step + 1)
      told = stop.anywhere(batch_sharding.mesh)
      state, metrics = step_fn(state, place(rows, batch_sharding))
      step += 1
      if profile is not None:
        profile.after(step, metrics)
      account(late.swap(step, metrics))
      stopping = told()
      if stopping or step == steps or step % cfg.save_every_steps == 0:
        account(late.take())
        checkpoints.save(step, state, guard.mean_loss())
      if stopping and step < steps:
        raise Stopped(
          f'{name} stopped at step {step} of {steps} and saved; the same '
          'command goes on from there'
        )
      if probe_fn and cfg.probe_every_steps:
        if step % cfg.probe_every_steps == 0 or step == steps:
          row = probe_fn(state)
          writer.write(step, row)
          watch.report_recall(step, row)
      if sample_fn and cfg.sample_every_steps:
        if step % cfg.sample_every_steps == 0:
          sample_fn(state, step)
  return state


class Guard:
  """Looks at every update for what must not be trained on."""

  def __init__(self, name: str, skips: bool, checkpoints: Checkpoints):
    self._name, self._skips, self._checkpoints = name, skips, checkpoints
    self._bad = 0  # in a row
    self._losses: list[float] = []

  def look(self, step: int, row: Row) -> None:
    """Raises UserError if update `step` was bad and that is the end."""
    if not row['bad']:
      self._bad = 0
      self._losses.append(row['loss'])
      return
    self._bad += 1
    said = (
      f'{self._name}: loss {row["loss"]}, gradient norm {row["grad_norm"]} at '
      f'step {step}, films_consumed {row["films_consumed"]}'
    )
    if self._skips and self._bad < MOST_SKIPPED:
      logging.warning('%s; skipped', said)
      return
    raise UserError(
      f'{said}; the last checkpoint, of step {self._checkpoints.latest_step}, '
      f'is sound: try a lower config.stage.{self._name}.learning_rate'
    )

  def mean_loss(self) -> float:
    """Of good updates since it was asked before; infinite if there are none."""
    losses, self._losses = self._losses, []
    return sum(losses) / len(losses) if losses else math.inf
