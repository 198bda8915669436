"""Keys and values as a bank stores them: as computed, or in 8 or 4 bits."""

import chex
import jax
import jax.numpy as jnp

_MOST = {'fp8': 448.0, 'int4': 7.0}  # the largest number that is stored
_FP8 = jnp.float8_e4m3fn
_LEAST = 1e-12  # of a scale that is divided by


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Stored:
  """Stored keys or values: as computed, or in fewer bits, times scales.

  int8 has a scale for each row of K. fp8 and int4 have one for each channel of
  a frame, the same for its P tokens: a few channels of keys are larger than all
  others, in every token (KIVI, arXiv 2402.02750, section 3). fp8 is stored as
  its bits, in int8. int4 has two numbers in a byte: feature k in the low half,
  k + K / 2 in the high one.
  """

  data: jax.Array  # [..., P, H, K], or [..., P, H, K / 2] in int4
  scale: jax.Array | None = None  # [..., P, H], float32, of int8
  channel_scale: jax.Array | None = None  # [..., H, K], bfloat16, of fp8, int4

  @property
  def storage(self) -> str:
    """How the data are stored: one of config.STORAGES."""
    if self.channel_scale is None:
      return 'compute' if self.scale is None else 'int8'
    return 'int4' if self.data.dtype == jnp.uint8 else 'fp8'


def store(x: jax.Array, storage: str) -> Stored:
  """Packs `x` [..., P, H, K]; `storage` is one of config.STORAGES."""
  if storage == 'compute':
    return Stored(data=x)
  x = x.astype(jnp.float32)
  if storage == 'int8':
    scale = jnp.max(jnp.abs(x), -1) / 127
    unit = x / jnp.maximum(scale, _LEAST)[..., None]
    return Stored(data=jnp.round(unit).astype(jnp.int8), scale=scale)
  most = _MOST[storage]
  scale = (jnp.max(jnp.abs(x), -3) / most).astype(jnp.bfloat16)
  # Divided by the scale as it is stored, which may be rounded down.
  unit = x / jnp.maximum(scale.astype(jnp.float32), _LEAST)[..., None, :, :]
  unit = jnp.clip(unit, -most, most)
  if storage == 'fp8':
    bits = jax.lax.bitcast_convert_type(unit.astype(_FP8), jnp.int8)
    return Stored(data=bits, channel_scale=scale)
  low, high = jnp.split((jnp.round(unit) + 8).astype(jnp.uint8), 2, -1)
  return Stored(data=low | (high << 4), channel_scale=scale)


def load(stored: Stored, dtype: jnp.dtype) -> jax.Array:
  """Unpacks what `store` packed, as `dtype`."""
  data = stored.data
  if stored.storage == 'compute':
    return data.astype(dtype)
  if stored.storage == 'int8':
    return (data * stored.scale[..., None]).astype(dtype)
  if stored.storage == 'int4':
    halves = (data & 15, data >> 4)
    data = jnp.concatenate(halves, -1).astype(jnp.float32) - 8
  else:
    data = jax.lax.bitcast_convert_type(data, _FP8).astype(jnp.float32)
  scale = stored.channel_scale.astype(jnp.float32)
  return (data * scale[..., None, :, :]).astype(dtype)
