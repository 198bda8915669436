"""Checkpoints of a stage, written asynchronously by Orbax.

A save is written to a temporary folder, which is renamed when it is complete.
Older checkpoints are removed only after that. So a process that is killed at
any moment leaves the last complete checkpoint in place, and the next start
removes the incomplete one. The same holds if the disk fails during a save. Each
checkpoint includes the config as JSON.
"""

import contextlib
import itertools
import json
import logging
import math
import os
import pathlib
import shutil
import sys
import threading
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from cinejax.core.disk import disk_errors, failure
from cinejax.core.errors import UserError
from cinejax.training.state import TrainState


def _policy(keep: int, best: int) -> Any:
  policies = ocp.checkpoint_managers
  newest = policies.LatestN(n=keep)
  if not best:
    return newest
  lowest = policies.BestN(
    get_metric_fn=lambda metrics: metrics['loss'], reverse=True, n=best
  )
  return policies.AnyPreservationPolicy([newest, lowest])


class Checkpoints:
  """The newest checkpoints of one stage, in one folder.

  Args:
    folder: is created if it does not exist.
    keep: how many of the newest checkpoints stay.
    config: the config as a dict of JSON values, stored beside each state.
    best: how many other checkpoints stay, those with the lowest loss.
  """

  def __init__(
    self,
    folder: str | os.PathLike,
    keep: int,
    config: dict[str, Any],
    best: int = 0,
  ):
    self._folder = pathlib.Path(folder).resolve()
    self._config = json.loads(json.dumps(config))
    self._failed = False  # a failure of the disk was raised
    options = ocp.CheckpointManagerOptions(
      preservation_policy=_policy(keep, best),
      enable_async_checkpointing=True,
      cleanup_tmp_directories=True,
    )
    with self._disk_errors():
      self._manager = ocp.CheckpointManager(self._folder, options=options)

  @property
  def latest_step(self) -> int | None:
    """The updates done in the newest checkpoint; None if there is none."""
    return self._manager.latest_step()

  def save(self, step: int, state: TrainState, loss: float = math.inf) -> None:
    """Starts to save `state`; first waits for an earlier save to complete.

    Args:
      step: updates done; a step that is saved already is not saved again.
      state: may be donated as soon as this returns.
      loss: the mean loss by which the best checkpoints are chosen.

    Raises:
      UserError: the disk fails, in this save or in the one before.
    """
    if step == self.latest_step:
      return
    args = ocp.args.Composite(
      state=ocp.args.StandardSave(state),
      config=ocp.args.JsonSave(self._config),
    )
    finite = loss if math.isfinite(loss) else sys.float_info.max
    with self._disk_errors():
      self._manager.save(step, args=args, metrics={'loss': finite})

  def restore(self, abstract: TrainState) -> TrainState | None:
    """The newest whole state, with the shapes and shardings of `abstract`.

    Damaged checkpoints are renamed to damaged-STEP, and named on standard
    error. Returns None if there is no checkpoint.

    Raises:
      UserError: the checkpoint is of another model or optimizer, or all
        checkpoints are damaged.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
    for step, before in itertools.zip_longest(steps, steps[1:]):
      error = state = None
      with _without_tracebacks():
        try:
          state = self._manager.restore(step, args=args)['state']
        except Exception as raised:  # Orbax and TensorStore raise many kinds
          error = raised
        if not _on_any_host(error is not None):
          return state
        if isinstance(error, (MemoryError, jax.errors.JaxRuntimeError)):
          raise error  # of the device: the checkpoint may be whole
        if self._is_of_another_model(step, abstract):
          raise UserError(
            f'the checkpoint {self._folder / str(step)} does not fit this '
            'config; its own is in the file config/metadata there; give '
            'another --workdir'
          ) from error
      if before is None:
        raise UserError(
          f'all checkpoints in {self._folder} are damaged; remove the folder '
          'to train this stage again'
        ) from error
      self._set_aside(step, before)
    return None

  def wait(self) -> None:
    """Waits until a save that was started is complete.

    Raises UserError if the disk fails.
    """
    with self._disk_errors():
      self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for saves, and frees the resources of Orbax; raises like `wait`."""
    with self._disk_errors():
      self._manager.close()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  @contextlib.contextmanager
  def _disk_errors(self) -> Iterator[None]:
    """Raises failures of the disk as UserErrors, the first one only."""
    try:
      with _without_tracebacks():
        yield
    except Exception as error:  # Orbax and TensorStore raise many kinds
      if self._failed:
        return
      found = failure(error, self._folder / 'checkpoint')
      if found is None:
        raise
      self._failed = True
      reason, remedy = found
      good = max(_steps(self._folder), default=None)
      saved = f'checkpoint {good} is good' if good else 'nothing is saved'
      raise UserError(
        f'no checkpoint can be written to {self._folder}: {reason}; {saved}; '
        f'{remedy} and repeat the command to continue'
      ) from error

  def _is_of_another_model(self, step: int, abstract: TrainState) -> bool:
    """Whether the stored shapes can be read and are not those of `abstract`."""
    try:
      folder = self._folder / str(step) / 'state'
      stored = ocp.StandardCheckpointHandler().metadata(folder)
      return _shapes(stored.tree) != _shapes(abstract)
    except Exception:  # of damaged metadata
      return False

  def _set_aside(self, step: int, before: int) -> None:
    """Renames a damaged checkpoint, so that its step can be saved again."""
    aside = self._folder / f'damaged-{step}'
    if jax.process_index() == 0:
      with disk_errors(aside):
        shutil.rmtree(aside, ignore_errors=True)
        (self._folder / str(step)).rename(aside)
      print(
        f'checkpoint {step} in {self._folder} is damaged and is now '
        f'{aside.name}; training continues from checkpoint {before}',
        file=sys.stderr,
      )
    if jax.process_count() > 1:
      multihost_utils.sync_global_devices(aside.name)
    self._manager.reload()


def _steps(folder: pathlib.Path) -> list[int]:
  """The steps of the complete checkpoints."""
  try:
    return [int(p.name) for p in folder.iterdir() if p.name.isdecimal()]
  except OSError:
    return []


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
  return {
    jax.tree_util.keystr(path, simple=True, separator='/'): tuple(leaf.shape)
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _on_any_host(value: bool) -> bool:
  if jax.process_count() == 1:
    return value
  return bool(np.any(multihost_utils.process_allgather(np.array(value))))


@contextlib.contextmanager
def _without_tracebacks() -> Iterator[None]:
  """Hides what Orbax and its threads print before the error is raised."""

  def is_shown(record: logging.LogRecord) -> bool:
    return not (record.exc_info and 'orbax' in record.pathname)

  logger = logging.getLogger('absl')
  hooks = sys.excepthook, sys.unraisablehook, threading.excepthook
  logger.addFilter(is_shown)
  sys.excepthook = sys.unraisablehook = lambda *_: None
  threading.excepthook = lambda _: None
  try:
    yield
  finally:
    sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
    logger.removeFilter(is_shown)
