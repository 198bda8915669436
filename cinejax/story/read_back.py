"""Reads the content of story films back from their pixels.

The pictures of the renderer are fitted to each frame:

1. Place: every strip at every camera offset is compared with the frame, in
   cells of 4x4 pixels, by a clipped L1 distance, which a sprite cannot
   dominate. The best strip b of each size is kept.
2. Sprite: let f be the frame, a the cover and s the colour of a sprite, in
   cells of 2x2 pixels. The squared error of painting the sprite over b is about

     E = sum (1 - a) |f - b|^2 + a |f - s|^2,

   which is one matrix product for all appearances, positions and sizes. The
   least E decides appearance and size; its neighbours refine the position.
3. A frame is readable if the sprite fits: the error under the sprite must be
   small, and much smaller than that of the empty place.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.story import motion, places, sprites, stamps, world

_BLOCK = 16  # frames read at a time
_CLIP = 0.15  # bound of the place's L1 distance, of full scale
_ERROR = 0.24  # greatest root mean square error under a readable sprite
_RATIO = 0.75  # greatest ratio of that squared error to the empty place's
_DRIFT = 0.15  # pixels a frame, beyond which a character walks or runs
_HOP = 0.4  # range of heights beyond which a character jumps, of a full jump


class Readings(NamedTuple):
  """The content of each frame; arrays [T].

  Where a frame is not readable, `appearance` is -1.
  """

  appearance: np.ndarray  # index of world.APPEARANCES
  place: np.ndarray
  size: np.ndarray
  offset: np.ndarray  # pixels of camera travel
  x: np.ndarray  # pixels, of the sprite's middle
  lift: np.ndarray  # pixels above the ground
  readable: np.ndarray  # bool


class ShotReading(NamedTuple):
  """The most frequent readings of a shot.

  `appearance` and `action` are -1 if most frames are unreadable.
  """

  appearance: int
  place: int
  size: int
  action: int
  x: float  # mean, pixels; nan if nothing is readable


def read_frames(video_TYXC: np.ndarray) -> Readings:
  """Reads uint8 video [T, 64, 64, 3], each frame by itself."""
  total = len(video_TYXC)
  keep = np.minimum(np.arange(-(-total // _BLOCK) * _BLOCK), total - 1)
  bank = stamps.bank()
  blocks = [
    _read(bank, video_TYXC[keep[i : i + _BLOCK]])
    for i in range(0, len(keep), _BLOCK)
  ]
  return Readings(
    *(np.concatenate(arrays)[:total] for arrays in zip(*blocks, strict=True))
  )


def read_shot(readings: Readings, start: int, stop: int) -> ShotReading:
  """The readings of one segment of a film, frames start to stop - 1."""
  part = Readings(*(array[start:stop] for array in readings))
  appearance, size = _mode(part.appearance), _mode(part.size)
  seen = np.flatnonzero(part.readable)
  action, x = -1, float('nan')
  if len(seen):
    x = float(part.x[seen].mean())
  if appearance >= 0:
    action = world.ACTIONS.index(
      _action(seen, part.x[seen], part.lift[seen], size)
    )
  return ShotReading(appearance, _mode(part.place), size, action, x)


def _action(time, x, lift, size: int) -> str:
  """The action, from the slope of x over time and the spread of heights."""
  slope = np.polyfit(time, x, 1)[0] if len(time) > 1 else 0.0
  if slope > _DRIFT:
    return 'runs right'
  if slope < -_DRIFT:
    return 'walks left'
  low, high = np.percentile(lift, (10, 90))
  jump = motion.JUMP * sprites.BODY[size]
  return 'jumps' if high - low > _HOP * jump else 'stands'


def _mode(values: np.ndarray) -> int:
  """The most frequent value; the least one on a tie."""
  kinds, counts = np.unique(values, return_counts=True)
  return int(kinds[counts.argmax()])


@jax.jit
def _read(bank: stamps.Bank, video_TYXC: jax.Array) -> Readings:
  image_TYXC = video_TYXC.astype(jnp.float32) / 255.0
  return jax.vmap(lambda image_YXC: _read_frame(bank, image_YXC))(image_TYXC)


def _read_frame(bank: stamps.Bank, image_YXC: jax.Array) -> Readings:
  gap_SGYXC = jnp.abs(stamps.cells(image_YXC, 4)[None, None] - bank.strip_SGYXC)
  best_S = jnp.minimum(gap_SGYXC, _CLIP).mean((2, 3, 4)).argmin(1)
  image_PC = stamps.flat(stamps.cells(image_YXC, 2))
  empty_SPC = bank.fine_SGPC[jnp.arange(len(best_S)), best_S]
  rows = [
    _fit(fits, image_PC, empty_PC)
    for fits, empty_PC in zip(bank.fits, empty_SPC, strict=True)
  ]
  error_S, appearance_S, x_S, lift_S = (
    jnp.stack(values) for values in zip(*rows, strict=True)
  )
  size = error_S.argmin()
  best, appearance, x, lift = (
    v[size] for v in (best_S, appearance_S, x_S, lift_S)
  )
  sprite = stamps.standing(appearance, size, x, lift)
  cover_YX1 = sprite.cover_YX[..., None]
  cover_PC = stamps.flat(stamps.cells(cover_YX1, 2))
  paint_PC = stamps.flat(stamps.cells(cover_YX1 * sprite.colour_YXC, 2))
  fit_PC = empty_SPC[size] * (1 - cover_PC) + paint_PC
  area = 3.0 * cover_PC.sum()
  error = jnp.sum(cover_PC * (image_PC - fit_PC) ** 2) / area
  empty = jnp.sum(cover_PC * (image_PC - empty_SPC[size]) ** 2) / area
  readable = (error < _ERROR**2) & (error < _RATIO * empty)
  return Readings(
    appearance=jnp.where(readable, appearance, -1),
    place=best // places.MAX_PAN,
    size=size,
    offset=best % places.MAX_PAN,
    x=x,
    lift=lift,
    readable=readable,
  )


def _fit(fits: stamps.Fits, image_PC, empty_PC) -> tuple[jax.Array, ...]:
  """E, appearance, x and lift of the best sprite of one size."""
  shapes = jnp.asarray([appearance.shape for appearance in world.APPEARANCES])
  grid = (len(world.APPEARANCES), len(fits.lift), len(fits.x))
  empty_P = jnp.sum((image_PC - empty_PC) ** 2, -1)
  square_P = jnp.sum(image_PC**2, -1)
  dot = functools.partial(jnp.matmul, precision='highest')
  cover_KLX = dot(fits.cover_SLXP, square_P - empty_P)[shapes]
  paint = fits.paint_KPC.reshape(len(fits.paint_KPC), -1)
  cross_K = dot(paint, image_PC.ravel())
  error_KLX = cover_KLX + (fits.energy_K - 2 * cross_K).reshape(grid)
  appearance, l, x = jnp.unravel_index(error_KLX.argmin(), grid)
  return (
    error_KLX[appearance, l, x] + empty_P.sum(),
    appearance,
    fits.x[x] + stamps.GRID * _between(error_KLX[appearance, l], x),
    fits.lift[l] + stamps.GRID * _between(error_KLX[appearance, :, x], l),
  )


def _between(values: jax.Array, at: jax.Array) -> jax.Array:
  """The offset of a minimum from index `at`, in steps of -1/2 to 1/2.

  The error of a shifted flat shape grows with the shift, not with its square.
  The minimum is therefore where two lines of equal and opposite slope, through
  the neighbours of the least value, meet. At the ends the offset is 0.
  """
  last = len(values) - 1
  here = values[at]
  before = values[jnp.maximum(at - 1, 0)]
  after = values[jnp.minimum(at + 1, last)]
  rise = jnp.maximum(jnp.maximum(before, after) - here, 1e-6)
  inside = (at > 0) & (at < last)
  return jnp.where(inside, 0.5 * (before - after) / rise, 0.0)
