"""Optimizers, learning rates and the decay of the running average.

Muon (Jordan et al., 2024) orthogonalises the momentum of each matrix of a
transformer's blocks and of a codec's trained layers. AdamW, with Nesterov's
momentum, updates all other weights: embeddings, heads, and all that is no
matrix. From scratch the story base learns in about half the updates of AdamW
alone; weights that AdamW trained are tuned with AdamW.

With n updates done, w updates of warmup and the decay d of the average

  lr(n) = peak · min(1, (n + 1) / (w + 1))  while n < w                    (1)
  ema decay(n) = min(d, (1 + n) / (10 + n))                                (2)

After the warmup the learning rate is constant, or follows a cosine from the
peak to a share of it at the last update.
"""

import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.training.config import StageConfig


def make_optimizer(cfg: StageConfig) -> optax.GradientTransformation:
  """Clips gradients by their global norm, then applies `cfg.optimizer`.

  Only matrices decay.

  Raises UserError if there is no optimizer of that name.
  """
  if cfg.optimizer not in _OPTIMIZERS:
    raise UserError(
      f'config.stage.NAME.optimizer is {cfg.optimizer}; it must be one of '
      f'{", ".join(_OPTIMIZERS)}'
    )
  return optax.chain(
    optax.clip_by_global_norm(cfg.clip_norm),
    _store_moments(_OPTIMIZERS[cfg.optimizer](cfg), cfg.moments_dtype),
  )


def _store_moments(
  optimizer: optax.GradientTransformation, dtype: str
) -> optax.GradientTransformation:
  """`optimizer` with moments stored in `dtype` and computed in float32."""
  if dtype == 'float32':
    return optimizer

  def cast(state, dtype):
    def leaf(path, x):
      # The constants of Muon's polynomial are no moments.
      moment = 'ns_coeffs' not in tree_lib.path_name(path)
      floating = jnp.issubdtype(x.dtype, jnp.floating)
      return x.astype(dtype) if moment and floating else x

    return jax.tree_util.tree_map_with_path(leaf, state)

  def init(params):
    return cast(optimizer.init(params), dtype)

  def update(updates, state, params=None, **extra):
    updates, state = optax.with_extra_args_support(optimizer).update(
      updates, cast(state, jnp.float32), params, **extra
    )
    return updates, cast(state, dtype)

  return optax.GradientTransformationExtraArgs(init, update)


def _adamw(cfg: StageConfig) -> optax.GradientTransformation:
  if not cfg.beta1:  # then the first moment is the gradient: store none
    return optax.chain(
      optax.scale_by_rms(
        cfg.beta2, eps=1e-8, eps_in_sqrt=False, bias_correction=True
      ),
      optax.add_decayed_weights(cfg.weight_decay, mask=matrices),
      optax.scale_by_learning_rate(make_schedule(cfg)),
    )
  return optax.adamw(
    make_schedule(cfg),
    b1=cfg.beta1,
    b2=cfg.beta2,
    weight_decay=cfg.weight_decay,
    mask=matrices,
  )


def _muon(cfg: StageConfig) -> optax.GradientTransformation:
  return optax.contrib.muon(
    make_schedule(cfg),
    adam_learning_rate=make_schedule(cfg, beside_muon=True),
    weight_decay=cfg.weight_decay,
    adam_b1=cfg.beta1,
    adam_b2=cfg.beta2,
    adam_weight_decay=0.0,  # optax would apply it to more than matrices
    muon_weight_dimension_numbers=_block_matrices,
  )


def _block_matrices(params: Any) -> Any:
  """The dimensions of the matrices that Muon updates; None for other weights.

  The kernels of a transformer's `blocks` are stacked, [L, in, out]. Those of a
  codec are not; a convolution [..., in, out] is a matrix whose rows are all
  axes but the last.
  """

  def numbers(path, x):
    found = _BLOCK_KERNEL.search(tree_lib.path_name(path))
    if not found:
      return None
    into = x.ndim - 2 if found['stacked'] else tuple(range(x.ndim - 1))
    return optax.contrib.MuonDimensionNumbers(into, x.ndim - 1)

  return jax.tree_util.tree_map_with_path(numbers, params)


_BLOCK_KERNEL = re.compile(
  r'(^|/)((?P<stacked>blocks)|block_\d+)/.+/kernel$'
  # a codec's other layers
  r'|^(correction|decoder)/(in|out|frames|patch)/kernel$'
)
_OPTIMIZERS = {'adamw': _adamw, 'muon': _muon}


def make_schedule(
  cfg: StageConfig, *, beside_muon: bool = False
) -> optax.Schedule:
  """The learning rate by updates done, eq. (1); each phase starts its own.

  A warmup that is longer than half of a phase is shortened to that half, so
  that a short trial of a long config still reaches its peak.

  Args:
    cfg: settings of the stage.
    beside_muon: whether it is the rate of the weights that Muon leaves to
      AdamW.
  """
  phases = cfg.by_phase()
  ends = list(itertools.accumulate(phase.steps for phase in phases))
  peaks = [
    phase.adam_peak if beside_muon else phase.learning_rate for phase in phases
  ]
  return optax.join_schedules(list(map(_schedule, phases, peaks)), ends[:-1])


def _schedule(cfg: StageConfig, peak: float) -> optax.Schedule:
  warmup = min(cfg.warmup_steps, cfg.steps // 2)
  first = peak / (warmup + 1)
  if cfg.schedule == 'constant':
    return optax.warmup_constant_schedule(first, peak, warmup)
  return optax.warmup_cosine_decay_schedule(
    first, peak, warmup, cfg.steps, peak * cfg.final_share
  )


def ema_decay(cfg: StageConfig, step: jax.Array) -> jax.Array:
  """The decay of the running average after `step` updates.

  With cfg.ema_warmup it follows eq. (2), so that the average soon forgets the
  initialisation.
  """
  if not cfg.ema_warmup:
    return jnp.float32(cfg.ema)
  return jnp.minimum(cfg.ema, (1.0 + step) / (10.0 + step))


def matrices(params: Any) -> Any:
  """A mask of kernels, found by name.

  The number of dimensions does not tell: stacked vectors have two as well.
  """
  return jax.tree_util.tree_map_with_path(
    lambda path, _: tree_lib.path_name(path[-1:]) == 'kernel', params
  )
