"""Pictures in overlapping tiles, so that memory is that of one tile.

Tiles are all of one size, evenly spread, the first and the last at the edges.
Where they overlap they are averaged, each with a weight that falls off
linearly towards its borders:

    x = sum_n w_n x_n,    sum_n w_n = 1 everywhere                          (1)

What a network computes near a tile's border lacks what lies beyond it, so
tiling is close to the whole picture, not equal to it; (1) alone is exact.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Tiles:
  """How pictures of `size` are cut, in rows and columns.

  Both methods also take the same pictures at `scale` times the resolution.
  """

  size: tuple[int, int]
  tile: tuple[int, int]  # at most `size`
  overlap: int  # of neighbours, at least; less than a tile

  def __len__(self) -> int:
    return len(self._corners(1))

  def cut(self, x: jax.Array, scale: int = 1) -> jax.Array:
    """[..., Y, X, C] -> [N, ..., tile Y, tile X, C]."""
    rows, columns = (scale * n for n in self.tile)
    return jnp.stack(
      [
        x[..., top : top + rows, left : left + columns, :]
        for top, left in self._corners(scale)
      ]
    )

  def blend(self, tiles: jax.Array, scale: int = 1) -> jax.Array:
    """[N, ..., tile Y, tile X, C] -> [..., Y, X, C], by eq. (1)."""
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
    """Top row and left column of every tile."""
    axes = []
    for size, tile in zip(self.size, self.tile, strict=True):
      room = size - tile
      steps = -(-room // (tile - self.overlap))
      axes.append([scale * (room * i // steps) for i in range(steps)])
      axes[-1].append(scale * room)
    return list(itertools.product(*axes))

  def _weights(self, scale: int) -> np.ndarray:
    """[N, tile Y, tile X] of eq. (1), float32."""
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
  """1, 2, … up to the middle and down again."""
  steps = np.arange(1, length + 1, dtype=np.float32)
  return np.minimum(steps, steps[::-1])
