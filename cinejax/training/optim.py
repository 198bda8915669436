"""The optimizer: clip, AdamW on a schedule, a running average.

lr(n) = peak · min(1, (n + 1) / (w + 1))  while n < w, the warmup            (1)
then constant, or a cosine from the peak to a tenth of it at the last step
ema decay(n) = min(d, (1 + n) / (10 + n)), n updates done                  (2)
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from cinejax.core import tree as tree_lib
from cinejax.training.config import StageConfig


def make_optimizer(cfg: StageConfig) -> optax.GradientTransformation:
  """Global norm clip, then AdamW with weight decay on matrices only."""
  return optax.chain(
    optax.clip_by_global_norm(cfg.clip_norm),
    optax.adamw(
      make_schedule(cfg),
      b1=cfg.beta1,
      b2=cfg.beta2,
      weight_decay=cfg.weight_decay,
      mask=matrices,
    ),
  )


def make_schedule(cfg: StageConfig) -> optax.Schedule:
  """Learning rate by updates done, eq. (1).

  A warmup longer than half of the stage is cut to that half, so that a short
  trial of a long config still reaches its peak.
  """
  warmup = min(cfg.warmup_steps, cfg.steps // 2)
  first = cfg.learning_rate / (warmup + 1)
  if cfg.schedule == 'constant':
    return optax.warmup_constant_schedule(first, cfg.learning_rate, warmup)
  return optax.warmup_cosine_decay_schedule(
    first, cfg.learning_rate, warmup, cfg.steps, cfg.learning_rate / 10
  )


def ema_decay(cfg: StageConfig, step: jax.Array) -> jax.Array:
  """Eq. (2): early averages forget the initialisation."""
  return jnp.minimum(cfg.ema, (1.0 + step) / (10.0 + step))


def matrices(params: Any) -> Any:
  """True for kernels, by name: stacked vectors have two dimensions too."""
  return jax.tree_util.tree_map_with_path(
    lambda path, _: tree_lib.path_name(path[-1:]) == 'kernel', params
  )
