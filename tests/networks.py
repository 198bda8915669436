"""Networks with random weights, which several tests share."""

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cinejax.config import Config
from cinejax.interop.tensors import save_tree
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
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


def with_random_head(params: denoiser.Params, scale: float) -> denoiser.Params:
  """`params` with another head: a new one is 0, and so is what follows it."""
  shape = params['head']['kernel'].shape
  kernel = scale * jax.random.normal(jax.random.key(1), shape)
  return params | {'head': params['head'] | {'kernel': kernel}}


def numpy_params(init_fn: Callable[[jax.Array], Any]) -> Any:
  """Parameters of the right shapes, for less than their init compiles."""
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda leaf: 0.2 * rng.random(leaf.shape, np.float32) - 0.05,
    jax.eval_shape(init_fn, jax.random.key(0)),
  )


def save_networks(cfg: Config, folder: pathlib.Path, seed: int = 0) -> None:
  """Writes a new base and a new codec, as a director loads them."""
  key = jax.random.key(seed)
  params = jax.jit(denoiser.init_params, static_argnums=0)(cfg.dit, key)
  save_tree(folder / 'base.safetensors', params, {})
  codec = jax.jit(make_codec(cfg.codec).init)(jax.random.key(1))
  save_tree(folder / 'codec.safetensors', codec, {})
