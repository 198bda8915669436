"""Backgrounds of the six places, painted once into an atlas.

A place consists of a sky gradient, a ground gradient and a few flat shapes.
Each shape is given by its signed distance in pixels (negative inside), and its
edge is smoothed over about one pixel. World coordinates are u to the right and
v up from the horizon, in pixels of the wide shot; closer shots have a larger
zoom. Each strip is wide enough for the longest pan and is painted at two
phases, half a pixel apart, so that a pan is a crop without blur.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from cinejax.story import world

ZOOM = (1.0, 1.5, 2.1)  # of the place, by shot size
HORIZON = (45.0, 45.0, 44.0)  # pixel row, by shot size
MAX_PAN = 20  # pixels that a camera may travel in a shot
PHASES = 2  # half-pixel phases of a strip


class _Strip(NamedTuple):
  """World coordinates of the pixel centres of a strip, and its zoom."""

  u_YX: np.ndarray
  v_YX: np.ndarray
  zoom: float

  def paint(self, image_YXC, distance_YX, colour) -> np.ndarray:
    """Paints a shape, given by its distance in world units, over an image."""
    t_YX = np.clip(0.5 - distance_YX * self.zoom / 1.5, 0.0, 1.0)
    cover_YX1 = (t_YX * t_YX * (3.0 - 2.0 * t_YX))[..., None]
    return image_YXC + cover_YX1 * (np.asarray(colour) - image_YXC)

  def disc(self, u: float, v: float, radius: float) -> np.ndarray:
    """A disc around (u, v)."""
    return np.hypot(self.u_YX - u, self.v_YX - v) - radius

  def box(self, u: float, v: float, width: float, height: float):
    """A box that stands on v and is centred on u."""
    return np.maximum(
      np.abs(self.u_YX - u) - width / 2,
      np.abs(self.v_YX - v - height / 2) - height / 2,
    )

  def cone(self, u: float, v: float, width: float, height: float):
    """An isosceles triangle on the line v; below it if height < 0."""
    up_YX = (self.v_YX - v) * np.sign(height)
    slope = width / 2 / abs(height)
    side_YX = np.abs(self.u_YX - u) - slope * (abs(height) - up_YX)
    return np.maximum(side_YX / np.hypot(1.0, slope), -up_YX)

  def wave(self, v: float, swing: float, period: float, phase: float):
    """Everything below a sine curve around v."""
    turn_YX = 2 * np.pi * (self.u_YX / period + phase)
    return self.v_YX - v - swing * np.sin(turn_YX)


def _gradient(v_YX, low_v: float, high_v: float, low, high) -> np.ndarray:
  t_YX1 = np.clip((v_YX - low_v) / (high_v - low_v), 0.0, 1.0)[..., None]
  return np.asarray(low) + t_YX1 * (np.asarray(high) - np.asarray(low))


def _ground(strip: _Strip, sky_YXC, near, far) -> np.ndarray:
  land_YXC = _gradient(strip.v_YX, -18.0, 0.0, near, far)
  return strip.paint(sky_YXC, strip.v_YX, land_YXC)


def _forest(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 0, 45, (0.80, 0.93, 0.66), (0.50, 0.80, 0.60))
  hills = strip.wave(9.0, 4.0, 46.0, 0.1)
  image = strip.paint(image, hills, (0.52, 0.76, 0.46))
  for u, size in ((-24, 34), (-9, 22), (14, 26), (29, 38), (46, 24)):
    trunk = strip.box(u, 0, size * 0.12, size * 0.3)
    image = strip.paint(image, trunk, (0.40, 0.28, 0.18))
    for lift, width in ((0.22, 0.62), (0.48, 0.46)):
      crown = strip.cone(u, size * lift, size * width, size * 0.52)
      image = strip.paint(image, crown, (0.13, 0.42 + lift * 0.2, 0.26))
  return _ground(strip, image, (0.24, 0.42, 0.16), (0.42, 0.62, 0.26))


def _beach(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 8, 45, (0.86, 0.96, 1.0), (0.42, 0.76, 0.98))
  image = strip.paint(image, strip.disc(17, 33, 6.5), (1.0, 0.95, 0.62))
  for u, v in ((-20, 32), (-15, 34), (-10, 32), (38, 24), (43, 25)):
    image = strip.paint(image, strip.disc(u, v, 4.0), (0.97, 0.99, 1.0))
  image = strip.paint(image, strip.v_YX - 13, (0.16, 0.56, 0.80))
  sail = np.maximum(strip.cone(-16, 13, 13, 15), strip.u_YX + 15)
  image = strip.paint(image, sail, (0.98, 0.98, 0.98))
  surf = strip.wave(5.0, 0.8, 14.0, 0.0)
  image = strip.paint(image, surf, (0.40, 0.76, 0.88))
  foam = strip.wave(1.2, 0.9, 20.0, 0.3)
  image = strip.paint(image, foam, (0.96, 0.98, 0.98))
  return _ground(strip, image, (0.88, 0.76, 0.50), (0.98, 0.91, 0.70))


def _city(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 0, 45, (0.36, 0.18, 0.46), (0.07, 0.06, 0.24))
  image = strip.paint(image, strip.disc(12, 34, 5.5), (0.98, 0.95, 0.80))
  image = strip.paint(image, strip.disc(14.5, 35.5, 4.8), (0.10, 0.08, 0.27))
  towers = (
    (-27, 12, 24),
    (-13, 11, 35),
    (1, 12, 19),
    (27, 13, 30),
    (43, 13, 22),
  )
  for number, (u, width, height) in enumerate(towers):
    tower = strip.box(u, 0, width, height)
    image = strip.paint(image, tower, (0.14, 0.13, 0.30))
    for row in range(4, height - 4, 7):
      for side in (-1, 1):
        if (row // 7 + number + side) % 3:
          window = strip.box(u + side * width / 4.2, row, 3.0, 3.6)
          image = strip.paint(image, window, (1.0, 0.82, 0.40))
  return _ground(strip, image, (0.13, 0.12, 0.20), (0.27, 0.25, 0.38))


def _kitchen(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 0, 45, (0.97, 0.90, 0.86), (0.98, 0.80, 0.76))
  image = strip.paint(image, strip.box(-17, 14, 20, 22), (0.99, 0.99, 0.97))
  image = strip.paint(image, strip.box(-17, 16, 16, 18), (0.62, 0.84, 0.94))
  image = strip.paint(image, strip.box(-17, 14, 1.8, 22), (0.99, 0.99, 0.97))
  image = strip.paint(image, strip.box(9, 32, 1.2, 30), (0.42, 0.36, 0.38))
  image = strip.paint(image, strip.cone(9, 26, 15, 10), (0.86, 0.34, 0.38))
  image = strip.paint(image, strip.box(31, 0, 20, 15), (0.45, 0.64, 0.66))
  image = strip.paint(image, strip.box(31, 15, 23, 2.4), (0.36, 0.28, 0.28))
  image = strip.paint(image, strip.box(27, 17.4, 8, 6), (0.95, 0.70, 0.36))
  image = strip.paint(image, strip.v_YX - 2.0, (0.99, 0.97, 0.94))
  return _ground(strip, image, (0.52, 0.33, 0.28), (0.66, 0.46, 0.38))


def _desert(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 0, 45, (1.0, 0.80, 0.34), (0.94, 0.46, 0.20))
  image = strip.paint(image, strip.disc(-12, 22, 10.0), (1.0, 0.93, 0.66))
  image = strip.paint(image, strip.wave(8, 5, 62, 0.1), (0.86, 0.46, 0.18))
  image = strip.paint(image, strip.wave(3, 4, 44, 0.6), (0.74, 0.34, 0.13))
  for u, height in ((20, 24), (-27, 16), (44, 18)):
    for left, low, width, tall in (
      (0, 0, 4.4, 1.0),
      (-5.4, 0.42, 3.2, 0.34),
      (5.4, 0.30, 3.2, 0.40),
      (0, 0.42, 12.0, 0.12),
    ):
      arm = strip.box(u + left, height * low, width, height * tall)
      image = strip.paint(image, arm, (0.30, 0.44, 0.20))
  return _ground(strip, image, (0.80, 0.50, 0.20), (0.95, 0.68, 0.32))


def _cave(strip: _Strip) -> np.ndarray:
  image = _gradient(strip.v_YX, 0, 45, (0.11, 0.34, 0.34), (0.03, 0.12, 0.15))
  image = strip.paint(image, strip.disc(4, 14, 19.0), (0.16, 0.46, 0.44))
  for u, length in (
    (-27, 26),
    (-14, 15),
    (0, 11),
    (13, 21),
    (27, 13),
    (42, 24),
  ):
    spike = strip.cone(u, 46, 13, -length)
    image = strip.paint(image, spike, (0.03, 0.15, 0.18))
  for u, height in ((-23, 14), (22, 17), (45, 12)):
    for lean, part, light in ((-4, 0.6, 0.8), (4, 0.7, 0.9), (0, 1.0, 1.0)):
      gem = strip.cone(u + lean, 0, 7, height * part)
      image = strip.paint(image, gem, np.array((0.94, 0.45, 0.86)) * light)
  return _ground(strip, image, (0.03, 0.11, 0.13), (0.09, 0.24, 0.25))


_PAINTERS: dict[str, Callable[[_Strip], np.ndarray]] = {
  'forest': _forest,
  'beach': _beach,
  'city': _city,
  'kitchen': _kitchen,
  'desert': _desert,
  'cave': _cave,
}


def _strip(size: int, phase: int) -> _Strip:
  x_X = np.arange(world.WIDTH + MAX_PAN) + 0.5 + phase / PHASES
  y_Y = np.arange(world.HEIGHT) + 0.5
  v_YX, u_YX = np.meshgrid(
    (HORIZON[size] - y_Y) / ZOOM[size],
    (x_X - world.WIDTH / 2) / ZOOM[size],
    indexing='ij',
  )
  return _Strip(u_YX, v_YX, ZOOM[size])


@functools.lru_cache
def atlas() -> np.ndarray:
  """All strips: float32 [place, size, phase, Y, X + MAX_PAN, 3] in [0, 1]."""
  return np.stack(
    [
      [
        [_PAINTERS[place](_strip(size, phase)) for phase in range(PHASES)]
        for size in range(len(world.SIZES))
      ]
      for place in world.PLACES
    ]
  ).astype(np.float32)
