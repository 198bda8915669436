"""Networks with random weights, which several tests share."""

import functools

import jax

from cinejax.models import denoiser
from cinejax.models.config import DiTConfig


def random_dit(dit: DiTConfig) -> denoiser.Params:
  """New parameters plus noise: those that begin as 0 would hide the rest."""
  leaves, tree = _drawn(dit)
  return jax.tree.unflatten(tree, leaves)


@functools.cache
def _drawn(dit: DiTConfig) -> tuple[list[jax.Array], jax.tree_util.PyTreeDef]:
  leaves, tree = jax.tree.flatten(denoiser.init_params(dit, jax.random.key(0)))
  keys = jax.random.split(jax.random.key(1), len(leaves))
  drawn = [
    x + 0.1 * jax.random.normal(key, x.shape)
    for x, key in zip(leaves, keys, strict=True)
  ]
  return drawn, tree
