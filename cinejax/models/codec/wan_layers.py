"""The layers of Wan's video autoencoders, which run frame by frame.

(Wan 2.1: arXiv 2503.20314, section 4.1; wan/modules/vae.py and vae2_2.py,
Apache-2.0.) All convolutions are causal. The frames of the past that they need
are in a cache, an immutable pytree of fixed shapes:

    y, cache' = conv([cache | x]),  cache' = the last two frames of input   (1)

A film begins with a cache of zeros, which is zero padding. Its first frame
differs in that time is neither doubled nor halved:

    double: y_2t, y_2t+1 = time_conv([cache | x])_t;  for the first y = x,
            which later frames do not see (the cache stays zero)            (2)
    half:   y_t = time_conv([cache | x])_2t;          for the first y = x,
            which the next frames see (cache' = x, one frame)               (3)

    norm(x) = sqrt(D) gamma x / |x|                                         (4)

In Wan 2.2 the layers of a level are a group, y = layers(x) + shortcut(x)
(wan_shortcuts.py).

Modules have the names of the original, so that names map one to one:
`encoder.downsamples.0.residual.2.weight` is `['encoder']['downsamples.0']
['residual.2']['kernel']`.
"""

from typing import Any, NamedTuple

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn

from cinejax.core.sharding import BATCH_AXES, ROW_AXES, constrain
from cinejax.models.codec.wan_shortcuts import average, duplicate

# for each layer: an array, a pair of them, those of its inner layers, or ()
Cache = tuple[Any, ...]

_PAST = 2  # frames in a cache


class Layer(NamedTuple):
  """The description of one layer, or of a group of layers."""

  name: str
  # causal | residual | attention | pointwise | norm (and silu) |
  # half | half_time | double | double_time; of a group its shortcut:
  # average | duplicate | none
  kind: str
  width: int  # features of its output
  inner: tuple['Layer', ...] = ()  # the layers of a group


def empty_cache(
  layers: tuple[Layer, ...], shape_BYXC: tuple[int, int, int, int], dtype: str
) -> Cache:
  """The cache before a film's first frame; `shape_BYXC` is that of inputs."""
  return _empty_caches(layers, shape_BYXC, dtype)[0]


def run_layers(
  layers: tuple[Layer, ...],
  dtype: str,
  x_BTYXD: jax.Array,
  caches: Cache,
  first: bool,
) -> tuple[jax.Array, Cache]:
  """Applies layers one after another, inside a module that holds them.

  `first` is static: True for a film's first frame, which comes alone.
  """
  new_caches = []
  for layer, cache in zip(layers, caches, strict=True):
    x_BTYXD, cache = _run_layer(layer, dtype, x_BTYXD, cache, first)
    x_BTYXD = constrain(x_BTYXD, BATCH_AXES, None, ROW_AXES)
    new_caches.append(cache)
  return x_BTYXD, tuple(new_caches)


def _empty_caches(layers, shape, dtype):
  """The caches of `layers`, and the shape [B, Y, X, D] of their output."""
  caches = []
  for layer in layers:
    cache, shape = _empty_cache(layer, shape, dtype)
    caches.append(cache)
  return tuple(caches), shape


def _empty_cache(layer, shape, dtype):
  if layer.inner:
    return _empty_caches(layer.inner, shape, dtype)
  batch, rows, columns, width = shape

  def past(width, frames=_PAST):
    return jnp.zeros((batch, frames, rows, columns, width), dtype)

  cache = ()
  if layer.kind.startswith('half'):
    rows, columns = rows // 2, columns // 2
  if layer.kind in ('causal', 'double_time'):
    cache = past(width)
  elif layer.kind == 'half_time':
    cache = past(width, frames=1)
  elif layer.kind == 'residual':
    cache = (past(width), past(layer.width))
  if layer.kind.startswith('double'):
    rows, columns = 2 * rows, 2 * columns
  return cache, (batch, rows, columns, layer.width)


def _run_layer(
  layer: Layer, dtype: str, x_BTYXD: jax.Array, cache: Any, first: bool
) -> tuple[jax.Array, Any]:
  name, kind, width, inner = layer
  if inner:
    return _Group(layer, dtype, name=name)(x_BTYXD, cache, first)
  match kind:
    case 'causal':
      return _causal(width, name, dtype, x_BTYXD, cache)
    case 'residual':
      return _Residual(width, dtype, name=name)(x_BTYXD, cache)
    case 'attention':
      return _Attention(dtype, name=name)(x_BTYXD), ()
    case 'pointwise':
      return _pointwise(width, name, dtype, x_BTYXD), ()
    case 'norm':
      return nn.silu(_Norm(name=name)(x_BTYXD)), ()
  return _Resample(kind, width, dtype, name=name)(x_BTYXD, cache, first)


class _Group(nn.Module):
  """A level of Wan 2.2: its layers, and a shortcut around them."""

  layer: Layer
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTYXD: jax.Array, caches: Cache, first: bool
  ) -> tuple[jax.Array, Cache]:
    _, shortcut, width, inner = self.layer
    h, caches = run_layers(inner, self.dtype, x_BTYXD, caches, first)
    resampling = inner[-1].kind
    t = 2 if resampling.endswith('_time') else 1
    s = 2 if resampling.startswith(('half', 'double')) else 1
    if shortcut == 'average':
      h += average(width, t, s, x_BTYXD)
    elif shortcut == 'duplicate':
      h += duplicate(width, t, s, x_BTYXD, first)
    return h, caches


class _Norm(nn.Module):
  """Eq. (4), in float32."""

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    width = x_BTYXD.shape[-1]
    gamma_D = self.param('gamma', nn.initializers.ones, (width,))
    x = x_BTYXD.astype(jnp.float32)
    length = jnp.linalg.norm(x, axis=-1, keepdims=True)
    unit = x / jnp.maximum(length, 1e-12)
    scale = (width**0.5 * gamma_D).reshape((1,) * (x.ndim - 1) + (-1,))
    return (unit * scale).astype(x_BTYXD.dtype)


class _Residual(nn.Module):
  width: int
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTYXD: jax.Array, cache: tuple[jax.Array, jax.Array]
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    h = nn.silu(_Norm(name='residual.0')(x_BTYXD))
    h, one = _causal(self.width, 'residual.2', self.dtype, h, cache[0])
    h = nn.silu(_Norm(name='residual.3')(h))
    h, two = _causal(self.width, 'residual.6', self.dtype, h, cache[1])
    if x_BTYXD.shape[-1] != self.width:
      x_BTYXD = _pointwise(self.width, 'shortcut', self.dtype, x_BTYXD)
    return x_BTYXD + h, (one, two)


class _Attention(nn.Module):
  """Self-attention with one head over the pixels of each frame."""

  dtype: str

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    width = x_BTYXD.shape[-1]
    h = _pointwise(3 * width, 'to_qkv', self.dtype, _Norm(name='norm')(x_BTYXD))
    q, k, v = jnp.split(
      einops.rearrange(h, 'B T Y X D -> (B T) (Y X) 1 D'), 3, axis=-1
    )
    h = jax.nn.dot_product_attention(q, k, v).reshape(x_BTYXD.shape)
    return x_BTYXD + _pointwise(width, 'proj', self.dtype, h)


class _Resample(nn.Module):
  """Halves or doubles rows and columns, and with `_time` frames, (2), (3)."""

  kind: str
  width: int
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTYXD: jax.Array, cache: Any, first: bool
  ) -> tuple[jax.Array, Any]:
    time = self.kind.endswith('_time') and not first
    if self.kind.startswith('double'):
      if time:
        x_BTYXD, cache = self._double_time(x_BTYXD, cache)
      x_BTYXD = jnp.repeat(jnp.repeat(x_BTYXD, 2, axis=2), 2, axis=3)
      return self._space((1, 1), (1, 1), x_BTYXD), cache
    # padding as in the original: after the last row and column alone
    x_BTYXD = self._space((2, 2), (0, 1), x_BTYXD)
    if time:
      return self._half_time(x_BTYXD, cache)
    return x_BTYXD, x_BTYXD if self.kind == 'half_time' else ()

  def _space(self, strides, padding, x_BTYXD) -> jax.Array:
    conv = nn.Conv(
      self.width,
      (3, 3),
      strides,
      padding=(padding, padding),
      dtype=self.dtype,
      name='resample.1',
    )
    x_NYXD = conv(x_BTYXD.reshape(-1, *x_BTYXD.shape[2:]))
    return x_NYXD.reshape(*x_BTYXD.shape[:2], *x_NYXD.shape[1:])

  def _double_time(self, x_BTYXD, cache):
    x_BTYXD = jnp.concatenate([cache, x_BTYXD], 1)
    h = nn.Conv(
      2 * x_BTYXD.shape[-1],
      (3, 1, 1),
      padding='VALID',
      dtype=self.dtype,
      name='time_conv',
    )(x_BTYXD)
    h = einops.rearrange(h, 'B T Y X (r D) -> B (T r) Y X D', r=2)
    return h, x_BTYXD[:, -_PAST:]

  def _half_time(self, x_BTYXD, cache):
    h = nn.Conv(
      self.width,
      (3, 1, 1),
      (2, 1, 1),
      padding='VALID',
      dtype=self.dtype,
      name='time_conv',
    )(jnp.concatenate([cache, x_BTYXD], 1))
    return h, x_BTYXD[:, -1:]


def _causal(
  width: int, name: str, dtype: str, x_BTYXD: jax.Array, cache: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Eq. (1) with a window of 3x3x3."""
  x_BTYXD = jnp.concatenate([cache, x_BTYXD], 1)
  y_BTYXD = nn.Conv(
    width,
    (3, 3, 3),
    padding=((0, 0), (1, 1), (1, 1)),
    dtype=dtype,
    name=name,
  )(x_BTYXD)
  return y_BTYXD, x_BTYXD[:, -_PAST:]


def _pointwise(
  width: int, name: str, dtype: str, x_BTYXD: jax.Array
) -> jax.Array:
  return nn.Dense(width, dtype=dtype, name=name)(x_BTYXD)
