"""Checkpoints of a stage, written asynchronously by Orbax.

A save is written to a temporary folder, which is renamed when it is complete.
Older checkpoints are removed only after that. So a process that is killed at
any moment leaves the last complete checkpoint in place, and the next start
removes the incomplete one. Each checkpoint includes the config as JSON.
"""

import json
import math
import os
import pathlib
import sys
from typing import Any

import orbax.checkpoint as ocp

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
    self._manager = ocp.CheckpointManager(
      self._folder,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=_policy(keep, best),
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,
      ),
    )

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
    """
    if step == self.latest_step:
      return
    self._manager.save(
      step,
      args=ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        config=ocp.args.JsonSave(self._config),
      ),
      metrics={'loss': loss if math.isfinite(loss) else sys.float_info.max},
    )

  def restore(self, abstract: TrainState) -> TrainState | None:
    """The newest state, with the shapes and shardings of `abstract`.

    Returns None if there is no checkpoint. Raises UserError if the checkpoint
    is of another model or optimizer.
    """
    step = self.latest_step
    if step is None:
      return None
    args = ocp.args.Composite(state=ocp.args.StandardRestore(abstract))
    try:
      return self._manager.restore(step, args=args)['state']
    except (ValueError, KeyError, TypeError) as error:
      raise UserError(
        f'the checkpoint {self._folder / str(step)} does not fit this config; '
        'its own is in the file config/metadata there; give another --workdir'
      ) from error

  def wait(self) -> None:
    """Waits until a save that was started is complete."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    """Waits for saves, and frees the resources of Orbax."""
    self._manager.close()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
