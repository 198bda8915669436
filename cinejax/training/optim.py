"""The optimizer: clip, Muon or AdamW on a schedule, a running average.

Muon (Jordan et al., 2024) orthogonalises the momentum of each matrix of a
transformer's blocks and of a codec's trained layers. AdamW, with Nesterov's
momentum, updates all other weights: embeddings, heads, and all that is no
matrix. From scratch the story base learns in about half the updates; weights
that AdamW trained are tuned with AdamW.

lr(n) = peak · min(1, (n + 1) / (w + 1))  while n < w, the warmup            (1)
then constant, or a cosine from the peak to a share of it at the last step
ema decay(n) = min(d, (1 + n) / (10 + n)), n updates done                  (2)
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
  """Global norm clip, then `cfg.optimizer`, with decay on matrices only.

  Raises UserError if there is no optimizer of that name.
  """
  if cfg.optimizer not in _OPTIMIZERS:
    raise UserError(
      f'config.stage.….optimizer is {cfg.optimizer}; it must be one of '
      f'{", ".join(_OPTIMIZERS)}'
    )
  return optax.chain(
    optax.clip_by_global_norm(cfg.clip_norm),
    _resting(_OPTIMIZERS[cfg.optimizer](cfg), cfg.moments_dtype),
  )


def _resting(
  optimizer: optax.GradientTransformation, dtype: str
) -> optax.GradientTransformation:
  """`optimizer` with moments kept in `dtype` and computed in float32."""
  if dtype == 'float32':
    return optimizer

  def cast(state, dtype):
    def leaf(path, x):
      # constants of Muon's polynomial are no moments
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
  if not cfg.beta1:  # the same without a first moment, which is the gradient
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
    adam_weight_decay=0.0,  # it would not be of matrices alone
    muon_weight_dimension_numbers=_block_matrices,
  )


def _block_matrices(params: Any) -> Any:
  """How Muon reads the kernels of blocks and codecs, None for the rest.

  A transformer's `blocks` are stacked, [L, in, out]; those of a codec are
  not, and of their convolutions all but the last axis is `in`.
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
  """Learning rate by updates done, eq. (1), anew in each phase of the stage.

  A warmup longer than half of a phase is cut to that half, so that a short
  trial of a long config still reaches its peak. `beside_muon`: the rate of the
  weights that Muon leaves to AdamW.
  """
  phases = cfg.of_phases()
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
  """Eq. (2), where warmed up: early averages forget the initialisation."""
  if not cfg.ema_warmup:
    return jnp.float32(cfg.ema)
  return jnp.minimum(cfg.ema, (1.0 + step) / (10.0 + step))


def matrices(params: Any) -> Any:
  """True for kernels, by name: stacked vectors have two dimensions too."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: tree_lib.path_name(path[-1:]) == 'kernel', params
  )
