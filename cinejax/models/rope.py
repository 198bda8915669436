"""Rotary positions on three axes, split as in Wan 2.1.

Of the K features of a head, rows and columns take 2 (K // 6) each and time the
rest, in the order [time | rows | columns]. Pair i of an axis with k features is
rotated by

  position / 10000^(2 i / k)                                               (1)

in float32. (Wan 2.1, section 4; Su et al. 2021.)
"""

import jax
import jax.numpy as jnp
import numpy as np

THETA = 10_000.0


def _frequencies(features: int) -> np.ndarray:
  """The angle per position of eq. (1), [features / 2]."""
  exponent = np.arange(0, features, 2, dtype=np.float64) / features
  return (THETA**-exponent).astype(np.float32)


def angles(
  frame: jax.Array, rows: int, columns: int, features: int
) -> jax.Array:
  """The angles of all tokens of some frames.

  Args:
    frame: positions in time [..., M].
    rows: of tokens in a frame.
    columns: of tokens in a frame.
    features: K, of a head.

  Returns:
    float32 [..., M P, K / 2] with P = rows * columns.
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
  """Rotates x [..., M, H, K] by `angle` [..., M, K / 2], in x's type."""
  cos, sin = jnp.cos(angle)[..., None, :], jnp.sin(angle)[..., None, :]
  pair = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
  even, odd = pair[..., 0], pair[..., 1]
  rotated = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
  return rotated.reshape(x.shape).astype(x.dtype)
