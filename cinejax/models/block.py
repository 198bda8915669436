"""One layer of the causal diffusion transformer: Wan 2.1's block.

  x += gate_1 attention(norm(x) (1 + scale_1) + shift_1)
  x += cross_attention(affine_norm(x), text of the segment)
  x += gate_2 mlp(norm(x) (1 + scale_2) + shift_2)

The six modulation vectors are a table of the layer plus a projection of the
embedding of t, one per frame. Queries and keys pass an RMS norm over the full
width D before the heads are split. Norms and modulation are float32. The mixer
(mixing.py) decides which segments see which. (Wan 2.1, section 4.2.)

On a mesh the axis `sequence` splits the P tokens of every frame outside of
attention and the heads within it; `tensor` splits heads and MLP features.
"""

from collections.abc import Callable
from typing import Any

import chex
import einops
import flax.linen as nn
import jax
import jax.numpy as jnp

from cinejax.core.sharding import BATCH_AXES, HEAD_AXES, constrain
from cinejax.models import fp8, lora
from cinejax.models.attention import attend, platform
from cinejax.models.config import DiTConfig

TOKENS = (BATCH_AXES, None, None, 'sequence')  # of [B, S, F, P, ...]
_HEADS = (BATCH_AXES, None, None, None, HEAD_AXES)  # of [B, S, F, P, H, K]


class Dense(nn.Dense):
  """A dense layer that adds the adapter beside its kernel, if there is one.

  Its kernel may be in e4m3 (fp8.py).
  """

  def __call__(self, x):
    if self.has_variable('params', fp8.KERNEL):
      kernel, scale, bias = (
        self.get_variable('params', name)
        for name in (fp8.KERNEL, fp8.SCALE, 'bias')
      )
      native = platform() == 'gpu'
      y = fp8.product(x, kernel, scale, self.dtype, native)
      return y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))
    y = super().__call__(x)
    if not self.has_variable('params', lora.DOWN):
      return y
    down, up = (
      self.get_variable('params', name).astype(self.dtype)
      for name in (lora.DOWN, lora.UP)
    )
    return y + (x.astype(self.dtype) @ down) @ up


def dense(cfg: DiTConfig, features: int, name: str, **kwargs: Any) -> nn.Dense:
  """A dense layer in the compute type; `kwargs` are those of nn.Dense."""
  kwargs.setdefault('kernel_init', nn.initializers.xavier_uniform())
  kwargs.setdefault('dtype', jnp.dtype(cfg.compute_dtype))
  return Dense(features, name=name, **kwargs)


@jax.checkpoint
def _gelu(x):
  """GELU by tanh, recomputed in the backward pass.

  Without that, the backward pass would need several stored arrays [..., G].
  """
  return nn.gelu(x, approximate=True)


def _plain_norm(cfg: DiTConfig):
  """Layer norm without parameters, float32."""
  return nn.LayerNorm(
    epsilon=cfg.epsilon, use_scale=False, use_bias=False, dtype=jnp.float32
  )


def modulated(cfg: DiTConfig, x, shift, scale):
  """norm(x) (1 + scale) + shift in the compute type."""
  y = _plain_norm(cfg)(x) * (1 + scale) + shift
  return y.astype(cfg.compute_dtype)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class KeysValues:
  """Keys, after their norm, and values of what attention reads."""

  key: jax.Array  # [..., H, K]
  value: jax.Array  # [..., H, K]


def _heads(cfg: DiTConfig, y):
  return y.reshape(*y.shape[:-1], cfg.heads, cfg.head_features)


def _normed(cfg: DiTConfig, y, name: str):
  norm = nn.RMSNorm(epsilon=cfg.epsilon, dtype=jnp.float32, name=name)
  return _heads(cfg, norm(y).astype(cfg.compute_dtype))


def _keys_values(cfg: DiTConfig, context) -> KeysValues:
  k = _normed(cfg, dense(cfg, cfg.features, 'key')(context), 'key_norm')
  v = dense(cfg, cfg.features, 'value')(context)
  return KeysValues(key=k, value=_heads(cfg, v))


class KeyValueProjection(nn.Module):
  """The part of an Attention that its queries do not enter."""

  cfg: DiTConfig

  @nn.compact
  def __call__(self, context) -> KeysValues:
    return _keys_values(self.cfg, context)


class Attention(nn.Module):
  """Projections and qk-norm around `mix`, which computes the attention."""

  cfg: DiTConfig

  @nn.compact
  def __call__(self, x, context, mix: Callable):
    """Attention of `x` [..., D] to `context`.

    Args:
      x: what queries are projected from.
      context: [..., D], what keys and values are projected from; or these.
      mix: mix(q, k, v) -> (out, *rest), on arrays [..., H, K].

    Returns:
      (the projected `out` [..., D], *rest).
    """
    cfg = self.cfg
    q = _normed(cfg, dense(cfg, cfg.features, 'query')(x), 'query_norm')
    if not isinstance(context, KeysValues):
      context = _keys_values(cfg, context)
    out, *rest = mix(q, context.key, context.value)
    out = out.reshape(*out.shape[:-2], cfg.features)
    return (dense(cfg, cfg.features, 'out')(out), *rest)


class Block(nn.Module):
  """One of the L layers.

  The others read the first `skip` segments, which have no output: in the last
  layer, nothing reads what the clean half would become.
  """

  cfg: DiTConfig
  mixer: Callable  # see mixing.py
  skip: int = 0  # segments

  @nn.compact
  def __call__(self, carry, modulation_BSF6D, text, shared, layer):
    """`text` is [B, N, W, D], or the KeysValues [B, N, W, H, K] of captions."""
    cfg = self.cfg
    x_BSFPD, rank = carry
    frames = x_BSFPD.shape[2]
    table = self.param(
      'modulation',
      nn.initializers.normal(cfg.features**-0.5),
      (6, cfg.features),
    )
    modulation = table[None, None, None] + modulation_BSF6D
    # six of [B, S, F, 1, D]: one for all tokens of a frame
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = jnp.moveaxis(
      modulation[..., None, :], 3, 0
    )
    y = modulated(cfg, x_BSFPD, shift_1, scale_1)
    if cfg.gate:
      gate_2H = jnp.stack(
        [
          self.param(f'route_gate_{name}', nn.initializers.zeros, (cfg.heads,))
          for name in ('bias', 'slope')
        ]
      )
      if layer is not None:
        layer = layer.replace(gate_2H=gate_2H)

    def mix(*heads):
      # The split changes from tokens to heads here, after the projections and
      # before frames and tokens become one axis: elsewhere XLA gathers all
      # of x.
      heads = (constrain(x, *TOKENS, 'tensor') for x in heads)
      heads = (constrain(x, *_HEADS) for x in heads)
      q, k, v = (
        einops.rearrange(x, 'b s f p h k -> b s (f p) h k') for x in heads
      )
      out, *rest = self.mixer(q, k, v, shared, layer, rank)
      out = einops.rearrange(out, 'b s (f p) h k -> b s f p h k', f=frames)
      return constrain(out, *TOKENS, 'tensor'), *rest

    y, rank, output = Attention(cfg, name='self_attention')(
      y[:, self.skip :], y, mix
    )
    x_BSFPD, gate_1, shift_2, scale_2, gate_2 = (
      x[:, self.skip :] for x in (x_BSFPD, gate_1, shift_2, scale_2, gate_2)
    )
    x_BSFPD += y * gate_1

    y = nn.LayerNorm(epsilon=cfg.epsilon, dtype=jnp.float32, name='cross_norm')(
      x_BSFPD
    )
    x_BSFPD += self._read_text(y.astype(cfg.compute_dtype), text)

    y = modulated(cfg, x_BSFPD, shift_2, scale_2)
    y = _gelu(dense(cfg, cfg.mlp_features, 'mlp_in')(y))
    x_BSFPD += dense(cfg, cfg.features, 'mlp_out')(y) * gate_2
    return (constrain(x_BSFPD, *TOKENS), rank), output

  def _read_text(self, x_BSFPD, text):
    """Cross-attention; segments that share a caption share its keys.

    Captions are not masked: Wan pads with zeros and attends to the padding.
    """
    batch, segments, frames = x_BSFPD.shape[:3]
    chunks = jax.tree.leaves(text)[0].shape[1]
    # Tokens come first in their axis, so that their split over devices stays.
    q = einops.rearrange(x_BSFPD, 'b (u n) f p d -> (b n) (p u f) d', n=chunks)
    text = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), text)

    def mix(q, k, v):
      return (attend(q, k, v, None, self.cfg.attention, by_query=True),)

    (y,) = Attention(self.cfg, name='cross_attention')(q, text, mix)
    return einops.rearrange(
      y,
      '(b n) (p u f) d -> b (u n) f p d',
      b=batch,
      u=segments // chunks,
      f=frames,
    )
