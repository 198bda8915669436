"""Networks with random weights, which several tests share."""

import functools
import pathlib

import jax

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


def save_networks(cfg: Config, folder: pathlib.Path, seed: int = 0) -> None:
  """Writes a new base and a new codec, as a director loads them."""
  key = jax.random.key(seed)
  params = jax.jit(denoiser.init_params, static_argnums=0)(cfg.dit, key)
  save_tree(folder / 'base.safetensors', params, {})
  codec = jax.jit(make_codec(cfg.codec).init)(jax.random.key(1))
  save_tree(folder / 'codec.safetensors', codec, {})
