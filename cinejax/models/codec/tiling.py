"""Cuts pictures into overlapping tiles, so that only one must fit in memory.

All tiles have the same size. They are evenly spaced, with the first and the
last at the edges. Where they overlap they are averaged, with weights that fall
off linearly towards the borders of a tile:

    x = sum_n w_n x_n,    sum_n w_n = 1 everywhere                          (1)

Near the border of a tile, a network does not see what lies beyond it. The
result is therefore close to that of the whole picture, but not equal; (1) is
exact.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Tiles:
  """The cutting of pictures of `size`, in rows and columns, into tiles.

  Both methods also accept these pictures at `scale` times the resolution.
  """

  size: tuple[int, int]
  tile: tuple[int, int]  # at most `size`
  overlap: int  # least overlap of neighbours; less than a tile

  def __len__(self) -> int:
    return len(self._corners(1))

  def cut(self, x: jax.Array, scale: int = 1) -> jax.Array:
    """Cuts [..., Y, X, C] into tiles [N, ..., tile Y, tile X, C]."""
    rows, columns = (scale * n for n in self.tile)
    return jnp.stack(
      [
        x[..., top : top + rows, left : left + columns, :]
        for top, left in self._corners(scale)
      ]
    )

  def blend(self, tiles: jax.Array, scale: int = 1) -> jax.Array:
    """Joins tiles [N, ..., tile Y, tile X, C] to [..., Y, X, C], eq. (1)."""
    rows, columns = (scale * n for n in self.tile)
    weights = self._weights(scale)
    shape = (scale * n for n in self.size)
    x = jnp.zeros((*tiles.shape[1:-3], *shape, tiles.shape[-1]), tiles.dtype)
    for n, (top, left) in enumerate(self._corners(scale)):
      weight = weights[n].reshape((1,) * (x.ndim - 3) + (rows, columns, 1))
      place = (..., slice(top, top + rows), slice(left, left + columns))
      x = x.at[(*place, slice(None))].add(tiles[n] * weight)
    return x

  def _corners(self, scale: int) -> list[tuple[int, int]]:
    """The top row and the left column of each tile."""
    axes = []
    for size, tile in zip(self.size, self.tile, strict=True):
      room = size - tile
      steps = -(-room // (tile - self.overlap))
      axes.append([scale * (room * i // steps) for i in range(steps)])
      axes[-1].append(scale * room)
    return list(itertools.product(*axes))

  def _weights(self, scale: int) -> np.ndarray:
    """The weights [N, tile Y, tile X] of eq. (1), float32."""
    rows, columns = (scale * n for n in self.tile)
    ramp_YX = np.outer(_ramp(rows), _ramp(columns))
    total_YX = np.zeros([scale * n for n in self.size], np.float32)
    places = [
      (slice(top, top + rows), slice(left, left + columns))
      for top, left in self._corners(scale)
    ]
    for place in places:
      total_YX[place] += ramp_YX
    return np.stack([ramp_YX / total_YX[place] for place in places])


def _ramp(length: int) -> np.ndarray:
  """1, 2, … up to the middle, and down to 1."""
  steps = np.arange(1, length + 1, dtype=np.float32)
  return np.minimum(steps, steps[::-1])
