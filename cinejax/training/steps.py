"""The optimizer update, compiled once, with the state donated.

`cinejax.objectives` defines losses; this file differentiates them. JAX donates
a buffer only if the input and output shardings agree, so both are given.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding

from cinejax.core import tree as tree_lib
from cinejax.core.sharding import BATCH_AXES, constrain, replicated
from cinejax.training.config import StageConfig
from cinejax.training.optim import ema_decay
from cinejax.training.state import Params, TrainState, branch

Batch = dict[str, jax.Array]  # each [B, ...]
Metrics = dict[str, jax.Array]  # scalars
# (params, batch, key, given) -> (loss, metrics). `given` holds `step`, the
# updates done, `ema`, the average of the parameters, and the parameters of the
# frozen networks by name.
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
  """Makes the jitted update (state, frozen, batch) -> (state, metrics).

  The state is donated. Call (or lower) the update within `jax.set_mesh(mesh)`,
  where sharding constraints of the model find the mesh.

  Args:
    loss_fn: the loss.
    optimizer: gradients, its state and parameters -> updates.
    cfg: settings of the stage.
    mesh: the devices.
    state_shardings: of the state.
    frozen_shardings: of the frozen networks by name; {} = none.
    batch_shardings: of the batch.
    ships: the branch of the parameters that is averaged; '' = all.

  Returns:
    The update. Its metrics, all replicated scalars, are those of the loss and
    `loss`; `grad_norm`, before clipping; `bad`, 1 if the loss is not finite or
    the gradient a spike; `films_consumed`. A bad update changes nothing if
    `cfg.on_spike` is `skip`.
  """

  gradient = _accumulated(loss_fn, cfg.accumulate)
  limit = cfg.spike_norm or jnp.finfo(jnp.float32).max

  def train_step(
    state: TrainState, frozen: dict[str, Params], batch: Batch
  ) -> tuple[TrainState, Metrics]:
    given = {**frozen, 'ema': state.ema, 'step': state.step}
    (loss, metrics), grads = gradient(state.params, batch, state.key, given)
    norm = optax.tree.norm(grads)
    bad = ~jnp.isfinite(loss) | ~(norm <= limit)
    updates, opt_state = optax.with_extra_args_support(optimizer).update(
      grads, state.opt_state, state.params, step=state.step
    )
    params = optax.apply_updates(state.params, updates)
    ema = tree_lib.ema(
      state.ema, branch(params, ships), ema_decay(cfg, state.step)
    )
    if cfg.on_spike == 'skip':
      params, opt_state, ema = jax.tree.map(
        lambda x, old: jnp.where(bad, old, x),
        (params, opt_state, ema),
        (state.params, state.opt_state, state.ema),
      )
    state = state.replace(
      step=state.step + 1,
      films_consumed=state.films_consumed + cfg.batch,
      params=params,
      opt_state=opt_state,
      ema=ema,
    )
    return state, metrics | {
      'loss': loss,
      'grad_norm': norm,
      'bad': bad.astype(jnp.float32),
      'films_consumed': state.films_consumed,
    }

  return jax.jit(
    train_step,
    in_shardings=(state_shardings, frozen_shardings, batch_shardings),
    out_shardings=(state_shardings, replicated(mesh)),
    donate_argnums=0,
  )


def _accumulated(loss_fn: LossFn, parts: int) -> Callable[..., Any]:
  """value_and_grad of `loss_fn`, computed over parts of the batch in turn.

  Losses, metrics and gradients are means over the parts. A part weighs as much
  as it has valid chunks, so that the mean is that of the whole batch. Each part
  has its own key.
  """
  gradient = jax.value_and_grad(loss_fn, has_aux=True)
  if parts == 1:
    return gradient

  def accumulated(params, batch, key, given):
    def split(x):  # every parts-th row, so that rows stay on their devices
      rows = x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
      return constrain(rows, None, BATCH_AXES)

    def step(total, part):
      batch, share, index = part
      values, grads = gradient(
        params, batch, jax.random.fold_in(key, index), given
      )
      total = jax.tree.map(
        lambda x, g: x + (share * g).astype(x.dtype), total, grads
      )
      return total, values

    batches = jax.tree.map(split, batch)
    valid_P = jnp.ones(parts)
    if 'mask' in batch:  # padding has no weight
      valid_P = batches['mask'].sum(range(1, batches['mask'].ndim))
    share_P = valid_P / valid_P.sum()
    zeros = jax.tree.map(jnp.zeros_like, params)
    grads, values = jax.lax.scan(
      step, zeros, (batches, share_P, jnp.arange(parts))
    )
    mean = lambda x: jnp.tensordot(share_P, x.astype(jnp.float32), 1)  # noqa: E731
    return jax.tree.map(mean, values), grads

  return accumulated


def without_networks(
  loss_fn: Callable[[Params, Batch, jax.Array], tuple[jax.Array, Metrics]],
) -> LossFn:
  """Turns a loss that needs no other network into a LossFn."""
  return lambda params, batch, key, given: loss_fn(params, batch, key)


def place(batch: dict[str, Any], sharding: NamedSharding) -> Batch:
  """Turns the rows of this process into global arrays on the devices."""
  return jax.tree.map(
    lambda rows: jax.make_array_from_process_local_data(sharding, rows), batch
  )
