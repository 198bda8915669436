"""The keys and values of captions, which all passes over a chunk share.

The cross-attention of each layer reads keys and values that depend on a caption
alone, not on the chunk or its time. A rollout therefore computes them once for
each chunk, and not again in each pass.
"""

from collections.abc import Callable
from typing import Any

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp

from cinejax.models.block import KeysValues, KeyValueProjection, dense
from cinejax.models.config import DiTConfig


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Captions:
  """What the network reads of N captions."""

  # [B, N, W, H, K] of each layer: a leading L or, if layers have leaves of
  # their own (dit.separated), a tuple
  layers: KeysValues | tuple[KeysValues, ...]
  action_BNFD: jax.Array | None  # the rows of text/actions.py; None: none


CaptionFn = Callable[[Any, jax.Array], Captions]


def embed_text(cfg: DiTConfig, text_BNWD: jax.Array) -> jax.Array:
  """Caption features in the width of the network; call it in a module."""
  init = nn.initializers.normal(0.02)
  x = dense(cfg, cfg.features, 'text_in', kernel_init=init)(
    text_BNWD.astype(cfg.compute_dtype)
  )
  x = nn.gelu(x, approximate=True)
  return dense(cfg, cfg.features, 'text_out', kernel_init=init)(x)


def split_actions(
  cfg: DiTConfig, text_BNWD: jax.Array, frames: int
) -> tuple[jax.Array, jax.Array | None]:
  """Words, and the last F = `frames` rows, if they steer; else None."""
  if not cfg.steered:
    return text_BNWD, None
  words = text_BNWD.shape[2] - frames
  return tuple(jnp.split(text_BNWD, [words], 2))


class _Embedding(nn.Module):
  """`embed_text` with the parameters of a DiT."""

  cfg: DiTConfig

  @nn.compact
  def __call__(self, text_BNWD):
    return embed_text(self.cfg, text_BNWD)


class _Layer(nn.Module):
  """The keys and values of captions, with the parameters of a Block."""

  cfg: DiTConfig

  @nn.compact
  def __call__(self, text_BNWD):
    project = KeyValueProjection(self.cfg, name='cross_attention')
    return project(text_BNWD)


def make_caption_fn(cfg: DiTConfig, frames: int) -> CaptionFn:
  """Makes fn(params, text_BNWD) -> Captions.

  Args:
    cfg: of the network.
    frames: F, latent frames of a chunk.
  """

  def caption_fn(params, text_BNWD):
    words, action_BNFD = split_actions(cfg, text_BNWD, frames)
    text_BNWD = _Embedding(cfg).apply({'params': params}, words)

    def layer(of_layer):
      return _Layer(cfg).apply({'params': of_layer}, text_BNWD)

    blocks = params['blocks']
    if isinstance(blocks, tuple):
      layers = tuple(layer(of_layer) for of_layer in blocks)
    else:
      layers = jax.lax.map(
        layer, {'cross_attention': blocks['cross_attention']}
      )
    return Captions(layers=layers, action_BNFD=action_BNFD)

  return caption_fn
