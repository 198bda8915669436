"""The parameters of a DiT as a rollout holds them on its devices.

  separated  a tuple of one tree for each layer, instead of one tree whose
             leaves have a leading L, of which every pass would copy each layer
  halved     the columns of queries and keys in an order in which positions
             rotate feature i with feature i + K / 2, instead of 2 i with
             2 i + 1: TPUs pad the pairs of neighbours to whole registers

  quantized  large kernels in eight-bit floats, if dit.precision is fp8

The first two change what the network computes by rounding alone: a layer's
parameters are the same, and scores do not depend on the order of features.
fp8.py says what the third changes. Weights on disk and parameters in training
are never arranged.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.models import fp8
from cinejax.models.config import DiTConfig

Params = Any
# Children without leaves, which tell how parameters are arranged.
_HALVES, _FP8 = 'halves', 'fp8'
_ROTATED = ('self_attention/query', 'self_attention/key')


def arranged(cfg: DiTConfig, params: Params, platform: str) -> Params:
  """`params` as the rollouts of `cfg` read them on a cpu, gpu or tpu."""
  if platform == 'tpu':
    params = halved(cfg, params)
  if cfg.precision == 'fp8':
    params = fp8.quantized(params) | {_FP8: ()}
  return separated(cfg, params)


def separated(cfg: DiTConfig, params: Params) -> Params:
  """`params` with a tree for each layer, if `cfg.unroll` says so."""
  if cfg.unroll not in ('rollout', 'both'):
    return params
  rows = jax.tree.map(jnp.unstack, params['blocks'])
  layers = jax.tree.transpose(
    jax.tree.structure(params['blocks']),
    jax.tree.structure((0,) * cfg.layers),
    rows,
  )
  return params | {'blocks': layers}


def of_layer(tree: Any, layer: int) -> Any:
  """One layer's part of a tree with a leading L, or of a tuple of L trees."""
  if isinstance(tree, tuple):
    return tree[layer]
  return jax.tree.map(lambda x: x[layer], tree)


def halved(cfg: DiTConfig, params: Params) -> Params:
  """`params` whose queries and keys have the first of each pair first."""
  pairs = np.arange(cfg.features).reshape(cfg.heads, -1, 2)
  order = np.moveaxis(pairs, -1, 1).reshape(-1)

  def leaf(name, x):
    rotated = any(part in name for part in _ROTATED)
    return x[..., order] if rotated and not name.endswith('down') else x

  flat = tree_lib.paths(params['blocks'])
  blocks = tree_lib.nested({name: leaf(name, x) for name, x in flat.items()})
  return params | {'blocks': blocks, _HALVES: ()}


def are_halved(params: Params) -> bool:
  """Whether these are the result of `halved`."""
  return _HALVES in params


def are_quantized(params: Params) -> bool:
  """Whether these were arranged for dit.precision=fp8."""
  return _FP8 in params
