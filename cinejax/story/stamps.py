"""The pictures that reading back compares with: empty places and sprites.

Both are kept in cells, means over 2x2 or 4x4 pixels, and drawn once. Sprites
stand still, look ahead and lie on a grid of positions.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.story import motion, places, sprites, world

GRID = 2.0  # pixels between fitted positions
_BLOCK = 16  # sprites drawn at a time


class Fits(NamedTuple):
  """Sprites of one size, [appearance, lift, x]; P are 2x2 pixel cells."""

  cover_SLXP: jax.Array  # by shape of the body
  paint_KPC: jax.Array  # cover * colour, K = appearance, lift, x in one
  energy_K: jax.Array  # sum of cover * colour^2
  x: jax.Array
  lift: jax.Array


class Bank(NamedTuple):
  """All that a frame is compared with."""

  strip_SGYXC: jax.Array  # in 4x4 cells, by size, G = place, offset
  fine_SGPC: jax.Array  # in 2x2 cells
  fits: tuple[Fits, ...]


@functools.lru_cache
def bank() -> Bank:
  """Drawn on the first call (seconds), about 60 MB."""
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
  # The first appearance of each shape tells the covers.
  _, firsts = np.unique(
    [appearance.shape for appearance in world.APPEARANCES], return_index=True
  )
  cover_SLXP = cover_KP.reshape(*grid[0].shape, -1)[firsts]
  return Fits(
    cover_SLXP, paint_KPC, energy_K, jnp.asarray(x), jnp.asarray(lift)
  )


@jax.jit
def _stamp(appearance_K, lift_K, x_K, size):
  """Cover, cover * colour and sum of cover * colour^2 of standing sprites."""

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
  """The sprite of an index into world.APPEARANCES, at x, `lift` pixels up."""
  parts = jnp.asarray(world.APPEARANCES)[appearance]
  still = jnp.zeros(())
  pose = sprites.Pose(x, lift, still, still, still)
  return sprites.draw((parts[0], parts[1], parts[2]), size, pose)


def cells(image: jax.Array, size: int) -> jax.Array:
  """Means over size x size pixels of [..., Y, X, C]."""
  *lead, rows, columns, channels = image.shape
  split = (*lead, rows // size, size, columns // size, size, channels)
  return image.reshape(split).mean((-4, -2))


def flat(image: jax.Array) -> jax.Array:
  """[..., Y, X, C] to [..., P, C]."""
  return image.reshape(*image.shape[:-3], -1, image.shape[-1])
