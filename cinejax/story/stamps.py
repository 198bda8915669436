"""The pictures that read_back.py compares frames with.

They are empty places and sprites, drawn once and stored in cells: means over
2x2 or 4x4 pixels. The sprites stand still, look ahead and lie on a grid of
positions.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.story import motion, places, sprites, world

GRID = 2.0  # pixels between fitted positions
_BLOCK = 16  # sprites that are drawn at a time


class Fits(NamedTuple):
  """Sprites of one size; P are cells of 2x2 pixels."""

  cover_SLXP: jax.Array  # by shape of the body, lift and x
  paint_KPC: jax.Array  # cover * colour; K runs over appearance, lift and x
  energy_K: jax.Array  # sum of cover * colour^2
  x: jax.Array  # pixels, of the grid
  lift: jax.Array  # pixels, of the grid


class Bank(NamedTuple):
  """All pictures that a frame is compared with."""

  strip_SGYXC: jax.Array  # in 4x4 cells, by size; G runs over place and offset
  fine_SGPC: jax.Array  # the same in 2x2 cells
  fits: tuple[Fits, ...]  # by size


@functools.lru_cache
def bank() -> Bank:
  """The pictures, about 60 MB; the first call draws them in some seconds."""
  atlas, width = places.atlas(), world.WIDTH
  strip_SGYXC = np.stack(
    [
      [
        atlas[place, size, 0, :, offset : offset + width]
        for place in range(len(world.PLACES))
        for offset in range(places.MAX_PAN)
      ]
      for size in range(len(world.SIZES))
    ]
  )
  return Bank(
    jnp.asarray(cells(strip_SGYXC, 4)),
    jnp.asarray(flat(cells(strip_SGYXC, 2))),
    tuple(_fits(size) for size in range(len(world.SIZES))),
  )


def _fits(size: int) -> Fits:
  low, high = motion.x_range(size)
  x = np.arange(low - GRID, high + 2 * GRID, GRID, dtype=np.float32)
  top = motion.JUMP * sprites.BODY[size]
  lift = np.arange(0.0, top + GRID / 2, GRID, dtype=np.float32)
  appearances = np.arange(len(world.APPEARANCES))
  grid = np.meshgrid(appearances, lift, x, indexing='ij')
  total = grid[0].size
  keep = np.minimum(np.arange(-(-total // _BLOCK) * _BLOCK), total - 1)
  appearance_K, lift_K, x_K = (values.ravel()[keep] for values in grid)
  blocks = [
    _stamp(
      *(values[i : i + _BLOCK] for values in (appearance_K, lift_K, x_K)), size
    )
    for i in range(0, len(keep), _BLOCK)
  ]
  cover_KP, paint_KPC, energy_K = (
    jnp.concatenate(parts)[:total] for parts in zip(*blocks, strict=True)
  )
  # the cover depends on the shape alone: take one appearance of each
  _, firsts = np.unique(
    [appearance.shape for appearance in world.APPEARANCES], return_index=True
  )
  cover_SLXP = cover_KP.reshape(*grid[0].shape, -1)[firsts]
  return Fits(
    cover_SLXP, paint_KPC, energy_K, jnp.asarray(x), jnp.asarray(lift)
  )


@jax.jit
def _stamp(appearance_K, lift_K, x_K, size):
  """Cover, cover * colour and sum of cover * colour^2 of K sprites."""

  def stamp(appearance, lift, x):
    sprite = standing(appearance, size, x, lift)
    cover_YX1 = sprite.cover_YX[..., None]
    paint_YXC = cover_YX1 * sprite.colour_YXC
    return (
      flat(cells(cover_YX1, 2))[:, 0],
      flat(cells(paint_YXC, 2)),
      jnp.sum(paint_YXC * sprite.colour_YXC) / 4,
    )

  return jax.vmap(stamp)(appearance_K, lift_K, x_K)


def standing(appearance, size, x, lift) -> sprites.Sprite:
  """A standing sprite; `appearance` is an index into world.APPEARANCES."""
  parts = jnp.asarray(world.APPEARANCES)[appearance]
  still = jnp.zeros(())
  pose = sprites.Pose(x, lift, still, still, still)
  return sprites.draw((parts[0], parts[1], parts[2]), size, pose)


def cells(image: jax.Array, size: int) -> jax.Array:
  """Means over cells of size x size pixels, of images [..., Y, X, C]."""
  *lead, rows, columns, channels = image.shape
  split = (*lead, rows // size, size, columns // size, size, channels)
  return image.reshape(split).mean((-4, -2))


def flat(image: jax.Array) -> jax.Array:
  """Joins rows and columns: [..., Y, X, C] -> [..., P, C]."""
  return image.reshape(*image.shape[:-3], -1, image.shape[-1])
