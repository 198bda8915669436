"""Rotary positions on three axes, as Wan 2.1 splits them.

Of K features h and w take 2 (K // 6) each and t the rest, in the order
[t | h | w]; neighbouring features are a pair, rotated by
position / 10000^(2 i / size of the axis). Angles are float32. (Wan 2.1,
section 4; Su et al. 2021.)
"""

import jax
import jax.numpy as jnp
import numpy as np

THETA = 10_000.0


def _frequencies(features: int) -> np.ndarray:
  exponent = np.arange(0, features, 2, dtype=np.float64) / features
  return (THETA**-exponent).astype(np.float32)


def angles(
  frame: jax.Array, rows: int, columns: int, features: int
) -> jax.Array:
  """Angles [..., frames * P, K / 2] of the tokens of frames [..., frames].

  P = rows * columns; rows and columns keep their places.
  """
  side = 2 * (features // 6)
  t = jnp.multiply.outer(
    frame.astype(jnp.float32), _frequencies(features - 2 * side)
  )
  y = np.multiply.outer(np.arange(rows), _frequencies(side))
  x = np.multiply.outer(np.arange(columns), _frequencies(side))
  shape = (*frame.shape, rows, columns)
  parts = (
    jnp.broadcast_to(t[..., None, None, :], (*shape, t.shape[-1])),
    jnp.broadcast_to(y[:, None].astype(np.float32), (*shape, side // 2)),
    jnp.broadcast_to(x.astype(np.float32), (*shape, side // 2)),
  )
  table = jnp.concatenate(parts, -1)
  return table.reshape(*frame.shape[:-1], -1, features // 2)


def rotate(x: jax.Array, angle: jax.Array) -> jax.Array:
  """Rotates x [..., M, H, K] by angles [..., M, K / 2]."""
  cos, sin = jnp.cos(angle)[..., None, :], jnp.sin(angle)[..., None, :]
  pair = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
  even, odd = pair[..., 0], pair[..., 1]
  turned = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
  return turned.reshape(x.shape).astype(x.dtype)
