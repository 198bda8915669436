"""One optimizer update, compiled once: shardings pinned, state donated.

The mathematics of a loss lives in `cinejax.objectives`; this file only
differentiates it. Donation holds only where input and output shardings agree,
so both are given.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jax.sharding import Mesh, NamedSharding

from cinejax.core import tree as tree_lib
from cinejax.core.sharding import replicated
from cinejax.training.config import StageConfig
from cinejax.training.optim import ema_decay
from cinejax.training.state import Params, TrainState, branch

Batch = dict[str, jax.Array]  # each [B, ...]
Metrics = dict[str, jax.Array]  # scalars
# (params, batch, key, given) -> (loss, metrics); `given` holds `step`, the
# updates done, and other networks' parameters by name: `ema`, the average of
# this one, and those that are frozen
LossFn = Callable[
  [Params, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Metrics]
]


def make_train_step(
  loss_fn: LossFn,
  optimizer: optax.GradientTransformation,
  cfg: StageConfig,
  mesh: Mesh,
  state_shardings: TrainState,
  frozen_shardings: dict[str, Any],
  batch_shardings: Any,
  ships: str = '',
) -> Callable[
  [TrainState, dict[str, Params], Batch], tuple[TrainState, Metrics]
]:
  """The jitted update (state, frozen, batch) -> (state, metrics).

  The state is donated. `frozen` are networks by name that the loss is given
  and that no update touches ({} = none); `ships` is the branch of the
  parameters that is averaged ('' = all).

  Call (or lower) it within `jax.set_mesh(mesh)`, where a model's own
  sharding constraints find the mesh. The metrics are those of the loss, and
  `loss`, `grad_norm` before clipping, `films_consumed`; all replicated.
  """

  def train_step(
    state: TrainState, frozen: dict[str, Params], batch: Batch
  ) -> tuple[TrainState, Metrics]:
    given = {**frozen, 'ema': state.ema, 'step': state.step}
    (loss, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      state.params, batch, state.key, given
    )
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    state = state.replace(
      step=state.step + 1,
      films_consumed=state.films_consumed + cfg.batch,
      params=params,
      opt_state=opt_state,
      ema=tree_lib.ema(
        state.ema, branch(params, ships), ema_decay(cfg, state.step)
      ),
    )
    return state, metrics | {
      'loss': loss,
      'grad_norm': optax.tree.norm(grads),
      'films_consumed': state.films_consumed,
    }

  return jax.jit(
    train_step,
    in_shardings=(state_shardings, frozen_shardings, batch_shardings),
    out_shardings=(state_shardings, replicated(mesh)),
    donate_argnums=0,
  )


def alone(
  loss_fn: Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]],
) -> LossFn:
  """A loss that needs no other network."""
  return lambda params, batch, key, given: loss_fn(params, batch, key)


def place(batch: dict[str, Any], sharding: NamedSharding) -> Batch:
  """This process's rows of each array, as global arrays on the devices."""
  return {
    name: jax.make_array_from_process_local_data(sharding, rows)
    for name, rows in batch.items()
  }
