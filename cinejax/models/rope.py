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


def rotations(
  frame: jax.Array, rows: int, columns: int, features: int
) -> tuple[jax.Array, jax.Array]:
  """Cosine and sine of the angles of all tokens of some frames.

  They are computed for each axis, before tokens combine the axes: M + rows +
  columns rows of a table instead of M P.

  Args:
    frame: positions in time [..., M].
    rows: of tokens in a frame.
    columns: of tokens in a frame.
    features: K, of a head.

  Returns:
    Two float32 arrays [..., M P, K / 2] with P = rows * columns.
  """
  axes = _along_axes(frame, rows, columns, features)
  return tuple(_spread(map(fn, axes)) for fn in (jnp.cos, jnp.sin))


def rotate(
  x: jax.Array, cos: jax.Array, sin: jax.Array, halves: bool = False
) -> jax.Array:
  """Rotates x [..., M, H, K] by angles of `rotations`, in x's type.

  Pair i is features 2 i and 2 i + 1, or with `halves` i and i + K / 2.
  """
  cos, sin = cos[..., None, :], sin[..., None, :]
  if halves:
    even, odd = jnp.split(x.astype(jnp.float32), 2, -1)
    rotated = [even * cos - odd * sin, even * sin + odd * cos]
    return jnp.concatenate(rotated, -1).astype(x.dtype)
  pair = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
  even, odd = pair[..., 0], pair[..., 1]
  rotated = jnp.stack([even * cos - odd * sin, even * sin + odd * cos], -1)
  return rotated.reshape(x.shape).astype(x.dtype)


def _along_axes(frame, rows, columns, features):
  """Angles by frame, row and column: arrays [..., M | 1, Y | 1, X | 1, k]."""
  side = 2 * (features // 6)
  t = jnp.multiply.outer(
    frame.astype(jnp.float32), _frequencies(features - 2 * side)
  )
  y, x = (
    np.multiply.outer(np.arange(size), _frequencies(side)).astype(np.float32)
    for size in (rows, columns)
  )
  lead = (1,) * frame.ndim
  return (
    t[..., None, None, :],
    y.reshape(*lead, rows, 1, side // 2),
    x.reshape(*lead, 1, columns, side // 2),
  )


def _spread(axes):
  """One row [..., M P, K] for each token, from an array for each axis."""
  axes = tuple(axes)
  shape = np.broadcast_shapes(*(x.shape[:-1] for x in axes))
  table = jnp.concatenate(
    [jnp.broadcast_to(x, (*shape, x.shape[-1])) for x in axes], -1
  )
  return table.reshape(*shape[:-3], -1, table.shape[-1])
