"""The encoder of UMT5, whose hidden states are the encoded prompts of Wan 2.1.

It is T5 (Raffel et al., arXiv 1910.10683) in the variant of UMT5 (Chung et al.,
arXiv 2304.09151): no biases, no factor 1 / sqrt(K), a gated MLP, and a table of
relative distances in each layer:

    h  = x + attention(norm(x)),  logits_qk = q.k + table[bucket(k - q)]    (1)
    x' = h + out(in(norm(h)) * gelu(gate(norm(h))))                         (2)
    norm(x) = scale x / sqrt(mean(x^2) + 1e-6)                              (3)

bucket() is exact for near words and logarithmic up to a distance of 128; words
before and after have separate buckets. The network computes in the precision of
its parameters, but norms, logits and softmax are float32. Wan's encoder is
umt5-xxl, whose sizes are XXL.
"""

import dataclasses
import functools
import math
from typing import Any

import chex
import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

_FARTHEST = 128  # tokens; larger distances share a bucket
_EPSILON = 1e-6


@dataclasses.dataclass(frozen=True)
class Sizes:
  """The sizes of the network, which follow from its parameters' shapes."""

  tokens: int  # of the vocabulary
  layers: int  # L
  heads: int  # H
  head_features: int  # K
  features: int  # D
  mlp_features: int  # G
  buckets: int  # of distances


XXL = Sizes(
  tokens=256_384,
  layers=24,
  heads=64,
  head_features=64,
  features=4096,
  mlp_features=10_240,
  buckets=32,
)


def shapes(sizes: Sizes) -> Any:
  """The shapes of the encoder's parameters."""
  ids = jax.ShapeDtypeStruct((1, 1), jnp.int32)
  init = functools.partial(Encoder(sizes).init, jax.random.key(0))
  return jax.eval_shape(init, ids, ids)['params']


class Encoder(nn.Module):
  """Token ids and their mask [B, W] -> hidden states [B, W, D]."""

  sizes: Sizes

  @nn.compact
  def __call__(self, ids_BW: jax.Array, mask_BW: jax.Array) -> jax.Array:
    chex.assert_equal_shape([ids_BW, mask_BW])
    sizes = self.sizes
    table = self.param(
      'embedding', nn.initializers.normal(), (sizes.tokens, sizes.features)
    )
    x_BWD = table[ids_BW]
    bucket_WW = jnp.asarray(buckets(ids_BW.shape[1], sizes.buckets))
    layers = nn.scan(
      _Block,
      variable_axes={'params': 0},
      split_rngs={'params': True},
      in_axes=nn.broadcast,
      length=sizes.layers,
    )
    x_BWD, _ = layers(sizes, table.dtype, name='blocks')(
      x_BWD, bucket_WW, mask_BW.astype(bool)
    )
    return _norm(table.dtype, 'final_norm')(x_BWD)


class _Block(nn.Module):
  """Eqs. (1) and (2)."""

  sizes: Sizes
  dtype: Any

  @nn.compact
  def __call__(
    self, x_BWD: jax.Array, bucket_WW: jax.Array, mask_BW: jax.Array
  ) -> tuple[jax.Array, None]:
    sizes = self.sizes
    h_BWD = _norm(self.dtype, 'attention_norm')(x_BWD)
    q, k, v = (
      einops.rearrange(
        self._dense(sizes.heads * sizes.head_features, name)(h_BWD),
        'B W (H K) -> B W H K',
        H=sizes.heads,
      )
      for name in ('query', 'key', 'value')
    )
    distance = self.param(
      'distance', nn.initializers.normal(), (sizes.buckets, sizes.heads)
    )
    bias_HWW = jnp.moveaxis(distance[bucket_WW], -1, 0)
    h_BWHK = jax.nn.dot_product_attention(
      q,
      k,
      v,
      bias=bias_HWW[None].astype(jnp.float32),
      mask=mask_BW[:, None, None],
      scale=1.0,
    )
    h_BWD = einops.rearrange(h_BWHK, 'B W H K -> B W (H K)')
    x_BWD = x_BWD + self._dense(sizes.features, 'out')(h_BWD)
    h_BWD = _norm(self.dtype, 'mlp_norm')(x_BWD)
    gate_BWG = nn.gelu(self._dense(sizes.mlp_features, 'mlp_gate')(h_BWD))
    h_BWG = self._dense(sizes.mlp_features, 'mlp_in')(h_BWD) * gate_BWG
    return x_BWD + self._dense(sizes.features, 'mlp_out')(h_BWG), None

  def _dense(self, features: int, name: str) -> nn.Dense:
    return nn.Dense(features, use_bias=False, dtype=self.dtype, name=name)


def _norm(dtype: Any, name: str) -> nn.RMSNorm:
  """Eq. (3)."""
  return nn.RMSNorm(_EPSILON, dtype=dtype, name=name)


def buckets(words: int, count: int) -> np.ndarray:
  """The buckets [W, W], int32, of query q and key k, at [q, k]."""
  place = np.arange(words)
  after = place[None] - place[:, None]
  near, half = count // 4, count // 2
  distance = np.abs(after).astype(np.float32)
  # float32 as in the original: rounding decides at the bounds of buckets
  scaled = np.log(np.maximum(distance, 1) / near) / math.log(_FARTHEST / near)
  far = near + (scaled * (half - near)).astype(np.int32)
  bucket = np.where(distance < near, distance, np.minimum(far, half - 1))
  return (bucket + half * (after > 0)).astype(np.int32)
