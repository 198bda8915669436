"""The loop of a stage: updates, rows of metrics, saves, and a clean stop.

SIGTERM (a preemption notice) and SIGINT save and stop; a second one acts as
usual. A loss or gradient that is not a number stops the run before it can
reach a checkpoint, with the identity of the batch: its `films_consumed`.
"""

import contextlib
import math
import signal
from collections.abc import Callable, Iterator
from typing import Any

from jax.sharding import NamedSharding

from cinejax.core.errors import UserError
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.config import TrainConfig
from cinejax.training.metrics import MetricWriter, OneLate, Pace, Row
from cinejax.training.progress import Watch
from cinejax.training.state import TrainState
from cinejax.training.steps import Batch, Metrics, place

StepFn = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


class Stopped(Exception):
  """The run was asked to stop, and has saved: one sentence."""


class StopSignal:
  """True once SIGTERM or SIGINT has come."""

  def __init__(self) -> None:
    self._came = False
    self._usual: dict[int, Any] = {}

  def __bool__(self) -> bool:
    return self._came

  def __enter__(self) -> 'StopSignal':
    for number in (signal.SIGTERM, signal.SIGINT):
      self._usual[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._usual.items():
      signal.signal(number, handler)

  def _note(self, *_: object) -> None:
    self._came = True
    self.__exit__()


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
  sample_fn: Callable[[TrainState, int], None] | None = None,
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
    sample_fn: (state, step) -> None, called every `cfg.sample_every_steps`.

  Raises:
    Stopped: a signal came; the state is saved.
    UserError: a loss is not a number.
  """
  step = int(state.step)
  late, pace = OneLate(), Pace(step, steps)

  def account(ready: tuple[int, Row] | None) -> None:
    if ready is None:
      return
    done, row = ready
    _check_finite(name, done, row, checkpoints)
    watch.advance(done)
    if done % cfg.log_every_steps == 0 or done == steps:
      row |= pace.look(done)
      writer.write(done, row)
      watch.report(done, row)

  with StopSignal() as stop, contextlib.ExitStack() as last:
    last.callback(checkpoints.wait)
    while step < steps:
      state, metrics = step_fn(state, place(next(batches), batch_sharding))
      step += 1
      account(late.swap(step, metrics))
      if stop or step == steps or step % cfg.save_every_steps == 0:
        account(late.take())
        checkpoints.save(step, state)
      if stop and step < steps:
        raise Stopped(
          f'{name} stopped at step {step} of {steps} and saved; the same '
          'command goes on from there'
        )
      if sample_fn and cfg.sample_every_steps:
        if step % cfg.sample_every_steps == 0:
          sample_fn(state, step)
  return state


def _check_finite(
  name: str, step: int, row: Row, checkpoints: Checkpoints
) -> None:
  if math.isfinite(row['loss']) and math.isfinite(row['grad_norm']):
    return
  raise UserError(
    f'{name}: loss {row["loss"]}, gradient norm {row["grad_norm"]} at step '
    f'{step}, films_consumed {row["films_consumed"]}; the last checkpoint, of '
    f'step {checkpoints.latest_step}, is sound: try a lower '
    f'config.stage.{name}.learning_rate'
  )
