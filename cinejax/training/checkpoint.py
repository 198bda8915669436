"""Checkpoints of a stage: Orbax, asynchronous, whole or absent.

A save is written to a temporary folder and renamed when it is complete; older
ones are removed only after that, so a process killed at any moment leaves the
last good checkpoint in place, and the next start removes the debris. The
resolved config lies in each checkpoint as JSON.
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
  least = policies.BestN(
    get_metric_fn=lambda metrics: metrics['loss'], reverse=True, n=best
  )
  return policies.AnyPreservationPolicy([newest, least])


class Checkpoints:
  """The newest checkpoints of one stage, in one folder.

  Args:
    folder: made if missing.
    keep: how many of the newest are kept.
    best: how many of the others, those of least loss.
    config: what was asked for, stored beside each state.
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
    """Updates done in the newest whole checkpoint; None before the first."""
    return self._manager.latest_step()

  def save(self, step: int, state: TrainState, loss: float = math.inf) -> None:
    """Starts a save and returns; waits for the one before, if needed.

    `loss` is what the best are chosen by.
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
    """The newest state, laid out as `abstract` says; None if there is none.

    Raises:
      UserError: the checkpoint is of another model or optimizer.
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
        'its own is in the file config/metadata there; take another --workdir'
      ) from error

  def wait(self) -> None:
    """Until the save under way is complete."""
    self._manager.wait_until_finished()

  def close(self) -> None:
    self._manager.close()

  def __enter__(self) -> 'Checkpoints':
    return self

  def __exit__(self, *_: object) -> None:
    self.close()
