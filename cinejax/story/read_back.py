"""What is seen, from pixels alone, by fitting the renderer's own pictures.

1. Place: every strip at every camera offset is compared with the frame in
   4x4 pixel cells by a clipped L1 distance, which a sprite cannot dominate.
   The best strip b of each size goes on.
2. Sprite: with f the frame, a the cover and s the colour of a sprite, both in
   2x2 pixel cells, the squared error of painting it over b is about

     E = sum (1 - a) |f - b|^2 + a |f - s|^2,

   which for all looks, positions and sizes at once is one matrix product. The
   least E decides look and size; its neighbours refine position.
3. Readable is what fits: under the sprite, the error must be small and much
   smaller than the empty place's.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.story import motion, places, sprites, world

_BLOCK = 16  # frames read at a time
_GRID = 2.0  # pixels between fitted positions
_CLIP = 0.15  # of the place's L1 distance, of full scale
_ERROR = 0.24  # root mean square under a readable sprite, at most
_RATIO = 0.75  # of the error under it to the empty place's, at most
_DRIFT = 0.15  # pixels a frame that tell walking from standing
_HOP = 0.4  # of a full jump that tells jumping from standing


class Readings(NamedTuple):
  """What each frame shows, arrays [T]; look is -1 where not readable."""

  look: np.ndarray  # index of world.LOOKS
  place: np.ndarray
  size: np.ndarray
  offset: np.ndarray  # pixels of camera travel
  x: np.ndarray  # pixels, of the sprite's middle
  lift: np.ndarray  # pixels above the ground
  readable: np.ndarray  # bool


class ShotReading(NamedTuple):
  """Modal readings of a shot; look and action are -1 if mostly unreadable."""

  look: int
  place: int
  size: int
  action: int
  x: float  # mean, pixels; nan if nothing is readable


class _Fits(NamedTuple):
  """Sprites of one size, [look, lift, x]; P are 2x2 pixel cells."""

  cover_SLXP: jax.Array  # by shape of the body
  paint_KPC: jax.Array  # cover * colour, K = look, lift, x in one
  energy_K: jax.Array  # sum of cover * colour^2
  x: jax.Array
  lift: jax.Array


class _Bank(NamedTuple):
  strip_SGYXC: jax.Array  # in 4x4 cells, by size, G = place, offset
  fine_SGPC: jax.Array  # in 2x2 cells
  fits: tuple[_Fits, ...]


def read_frames(video_TYXC: np.ndarray) -> Readings:
  """Reads uint8 [T, 64, 64, 3]; every frame on its own."""
  total = len(video_TYXC)
  keep = np.minimum(np.arange(-(-total // _BLOCK) * _BLOCK), total - 1)
  bank = _bank()
  blocks = [
    _read(bank, video_TYXC[keep[i : i + _BLOCK]])
    for i in range(0, len(keep), _BLOCK)
  ]
  return Readings(
    *(np.concatenate(arrays)[:total] for arrays in zip(*blocks, strict=True))
  )


def read_shot(readings: Readings, start: int, stop: int) -> ShotReading:
  """What frames start..stop-1, one segment of a film, show together."""
  part = Readings(*(array[start:stop] for array in readings))
  look, size = _mode(part.look), _mode(part.size)
  seen = np.flatnonzero(part.readable)
  action, x = -1, float('nan')
  if len(seen):
    x = float(part.x[seen].mean())
  if look >= 0:
    action = world.ACTIONS.index(
      _action(seen, part.x[seen], part.lift[seen], size)
    )
  return ShotReading(look, _mode(part.place), size, action, x)


def _action(time, x, lift, size: int) -> str:
  """Walking is a slope of x; jumping is a spread of heights."""
  slope = np.polyfit(time, x, 1)[0] if len(time) > 1 else 0.0
  if slope > _DRIFT:
    return 'runs right'
  if slope < -_DRIFT:
    return 'walks left'
  low, high = np.percentile(lift, (10, 90))
  jump = motion.JUMP * sprites.BODY[size]
  return 'jumps' if high - low > _HOP * jump else 'stands'


def _mode(values: np.ndarray) -> int:
  kinds, counts = np.unique(values, return_counts=True)
  return int(kinds[counts.argmax()])


@functools.lru_cache
def _bank() -> _Bank:
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
  return _Bank(
    jnp.asarray(_cells(strip_SGYXC, 4)),
    jnp.asarray(_flat(_cells(strip_SGYXC, 2))),
    tuple(_fits(size) for size in range(len(world.SIZES))),
  )


def _fits(size: int) -> _Fits:
  low, high = motion.x_range(size)
  x = np.arange(low - _GRID, high + 2 * _GRID, _GRID, dtype=np.float32)
  top = motion.JUMP * sprites.BODY[size]
  lift = np.arange(0.0, top + _GRID / 2, _GRID, dtype=np.float32)
  looks = np.arange(len(world.LOOKS))
  grid = np.meshgrid(looks, lift, x, indexing='ij')
  total = grid[0].size
  keep = np.minimum(np.arange(-(-total // _BLOCK) * _BLOCK), total - 1)
  look_K, lift_K, x_K = (values.ravel()[keep] for values in grid)
  blocks = [
    _stamp(*(values[i : i + _BLOCK] for values in (look_K, lift_K, x_K)), size)
    for i in range(0, len(keep), _BLOCK)
  ]
  cover_KP, paint_KPC, energy_K = (
    jnp.concatenate(parts)[:total] for parts in zip(*blocks, strict=True)
  )
  # The first look of each shape tells the covers.
  _, firsts = np.unique([look.shape for look in world.LOOKS], return_index=True)
  cover_SLXP = cover_KP.reshape(*grid[0].shape, -1)[firsts]
  return _Fits(
    cover_SLXP, paint_KPC, energy_K, jnp.asarray(x), jnp.asarray(lift)
  )


@jax.jit
def _stamp(look_K, lift_K, x_K, size):
  """Cover, cover * colour and sum of cover * colour^2 of standing sprites."""

  def stamp(look, lift, x):
    sprite = _sprite(look, size, x, lift)
    cover_YX1 = sprite.cover_YX[..., None]
    paint_YXC = cover_YX1 * sprite.colour_YXC
    return (
      _flat(_cells(cover_YX1, 2))[:, 0],
      _flat(_cells(paint_YXC, 2)),
      jnp.sum(paint_YXC * sprite.colour_YXC) / 4,
    )

  return jax.vmap(stamp)(look_K, lift_K, x_K)


def _sprite(look, size, x, lift) -> sprites.Sprite:
  parts = jnp.asarray(world.LOOKS)[look]
  still = jnp.zeros(())
  pose = sprites.Pose(x, lift, still, still, still)
  return sprites.draw((parts[0], parts[1], parts[2]), size, pose)


def _cells(image: jax.Array, size: int) -> jax.Array:
  """Means over size x size pixels of [..., Y, X, C]."""
  *lead, rows, columns, channels = image.shape
  cells = (*lead, rows // size, size, columns // size, size, channels)
  return image.reshape(cells).mean((-4, -2))


def _flat(image: jax.Array) -> jax.Array:
  return image.reshape(*image.shape[:-3], -1, image.shape[-1])


@jax.jit
def _read(bank: _Bank, video_TYXC: jax.Array) -> Readings:
  image_TYXC = video_TYXC.astype(jnp.float32) / 255.0
  return jax.vmap(lambda image_YXC: _read_frame(bank, image_YXC))(image_TYXC)


def _read_frame(bank: _Bank, image_YXC: jax.Array) -> Readings:
  gap_SGYXC = jnp.abs(_cells(image_YXC, 4)[None, None] - bank.strip_SGYXC)
  best_S = jnp.minimum(gap_SGYXC, _CLIP).mean((2, 3, 4)).argmin(1)
  image_PC = _flat(_cells(image_YXC, 2))
  empty_SPC = bank.fine_SGPC[jnp.arange(len(best_S)), best_S]
  rows = [
    _fit(fits, image_PC, empty_PC)
    for fits, empty_PC in zip(bank.fits, empty_SPC, strict=True)
  ]
  error_S, look_S, x_S, lift_S = (
    jnp.stack(values) for values in zip(*rows, strict=True)
  )
  size = error_S.argmin()
  best, look, x, lift = (v[size] for v in (best_S, look_S, x_S, lift_S))
  sprite = _sprite(look, size, x, lift)
  cover_YX1 = sprite.cover_YX[..., None]
  cover_PC = _flat(_cells(cover_YX1, 2))
  paint_PC = _flat(_cells(cover_YX1 * sprite.colour_YXC, 2))
  fit_PC = empty_SPC[size] * (1 - cover_PC) + paint_PC
  area = 3.0 * cover_PC.sum()
  error = jnp.sum(cover_PC * (image_PC - fit_PC) ** 2) / area
  empty = jnp.sum(cover_PC * (image_PC - empty_SPC[size]) ** 2) / area
  readable = (error < _ERROR**2) & (error < _RATIO * empty)
  return Readings(
    look=jnp.where(readable, look, -1),
    place=best // places.MAX_PAN,
    size=size,
    offset=best % places.MAX_PAN,
    x=x,
    lift=lift,
    readable=readable,
  )


def _fit(fits: _Fits, image_PC, empty_PC) -> tuple[jax.Array, ...]:
  """E, look, x and lift of the best sprite of one size."""
  shapes = jnp.asarray([look.shape for look in world.LOOKS])
  grid = (len(world.LOOKS), len(fits.lift), len(fits.x))
  empty_P = jnp.sum((image_PC - empty_PC) ** 2, -1)
  square_P = jnp.sum(image_PC**2, -1)
  dot = functools.partial(jnp.matmul, precision='highest')
  cover_KLX = dot(fits.cover_SLXP, square_P - empty_P)[shapes]
  paint = fits.paint_KPC.reshape(len(fits.paint_KPC), -1)
  cross_K = dot(paint, image_PC.ravel())
  error_KLX = cover_KLX + (fits.energy_K - 2 * cross_K).reshape(grid)
  look, l, x = jnp.unravel_index(error_KLX.argmin(), grid)
  return (
    error_KLX[look, l, x] + empty_P.sum(),
    look,
    fits.x[x] + _GRID * _between(error_KLX[look, l], x),
    fits.lift[l] + _GRID * _between(error_KLX[look, :, x], l),
  )


def _between(values: jax.Array, at: jax.Array) -> jax.Array:
  """Where, within half a step of the least value, two lines meet.

  The error of a shifted flat shape grows with the shift, not its square: two
  lines of equal slope through the neighbours; none beyond the ends.
  """
  last = len(values) - 1
  here = values[at]
  before = values[jnp.maximum(at - 1, 0)]
  after = values[jnp.minimum(at + 1, last)]
  rise = jnp.maximum(jnp.maximum(before, after) - here, 1e-6)
  inside = (at > 0) & (at < last)
  return jnp.where(inside, 0.5 * (before - after) / rise, 0.0)
