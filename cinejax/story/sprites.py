"""Sprites of the characters: a body on two legs, with eyes and an outline.

Shapes are given by a signed distance d in pixels, negative inside. That of a
rounded box is |max(q, 0)| + min(max(q), 0) - corner; that of a pointed body is
the smooth maximum of three half planes. A layer covers the share
smoothstep(1/2 - d / 1.5) of a pixel. Each function draws one sprite; vmap draws
many.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from cinejax.story import world

BODY = (22.0, 34.0, 48.0)  # pixels from sole to crown, by shot size
SOLE = (52.0, 56.0, 60.5)  # pixel row of the soles, by shot size

_HUES = (  # (R, G, B) of world.HUES
  (0.90, 0.13, 0.16),
  (1.00, 0.80, 0.08),
  (0.07, 0.66, 0.26),
  (0.16, 0.27, 0.92),
)
_WHITE = (0.98, 0.98, 0.96)
_INK = (0.10, 0.09, 0.14)


class Pose(NamedTuple):
  """The position and the movement of a sprite; scalars, before vmap."""

  x: jax.Array  # pixels, of the sprite's middle
  lift: jax.Array  # pixels above the ground
  step: jax.Array  # phase of the walking cycle, in radians
  gait: jax.Array  # 0 (both feet on the ground) to 1 (full strides)
  gaze: jax.Array  # -1 left, 0 ahead, 1 right


class Sprite(NamedTuple):
  """A drawn sprite, of which `cover_YX` is the opacity."""

  colour_YXC: jax.Array
  cover_YX: jax.Array
  shadow_YX: jax.Array  # darkening of the ground, 0 to 1


def draw(
  appearance: tuple[jax.Array, jax.Array, jax.Array],
  size: jax.Array,
  pose: Pose,
) -> Sprite:
  """Draws a sprite, 64x64 pixels, with colours in [0, 1].

  `appearance` has the indices of hue, shape and pattern.
  """
  hue, shape, pattern = appearance
  tall = jnp.asarray(BODY)[size]
  sole = jnp.asarray(SOLE)[size]
  y_YX, x_YX = jnp.meshgrid(
    jnp.arange(world.HEIGHT) + 0.5,
    jnp.arange(world.WIDTH) + 0.5,
    indexing='ij',
  )
  dx_YX = x_YX - pose.x
  up_YX = sole - pose.lift - y_YX
  body_YX = _body(shape, dx_YX, up_YX, tall)
  legs_YX = _legs(dx_YX, up_YX, tall, pose)
  colour_C = jnp.asarray(_HUES)[hue]
  shade_YX = 0.88 + 0.18 * jnp.clip(up_YX / tall, 0.0, 1.0)
  skin_YXC = jnp.minimum(colour_C[None, None] * shade_YX[..., None], 1.0)
  belt_YX = jnp.abs(up_YX - 0.31 * tall) - 0.085 * tall
  belt_YX = jnp.where(pattern == 1, _cover(belt_YX), 0.0)
  skin_YXC = _over(skin_YXC, belt_YX, _WHITE)

  image_YXC = jnp.broadcast_to(
    jnp.asarray(_WHITE), (world.HEIGHT, world.WIDTH, 3)
  )
  image_YXC = _over(image_YXC, _cover(legs_YX), 0.55 * colour_C)
  image_YXC = _over(image_YXC, _cover(body_YX), skin_YXC)
  side_YX = jnp.abs(dx_YX) - 0.135 * tall
  eye_YX = jnp.hypot(side_YX, up_YX - 0.56 * tall) - 0.095 * tall
  image_YXC = _over(image_YXC, _cover(eye_YX), _WHITE)
  off_YX = jnp.abs(dx_YX - 0.035 * tall * pose.gaze) - 0.135 * tall
  pupil_YX = jnp.hypot(off_YX, up_YX - 0.55 * tall) - 0.05 * tall
  image_YXC = _over(image_YXC, _cover(pupil_YX), _INK)

  outline_YX = jnp.minimum(body_YX, legs_YX) - 0.6 - 0.015 * tall
  ground_YX = (y_YX - sole) / (0.06 * tall)
  oval_YX = jnp.square(dx_YX / (0.40 * tall - pose.lift)) + jnp.square(
    ground_YX
  )
  return Sprite(image_YXC, _cover(outline_YX), jnp.clip(1.0 - oval_YX, 0, 1))


def compose(image_YXC: jax.Array, sprite: Sprite) -> jax.Array:
  """Paints `sprite` and its shadow over `image_YXC`."""
  lit_YXC = image_YXC * (1.0 - 0.35 * sprite.shadow_YX)[..., None]
  return _over(lit_YXC, sprite.cover_YX, sprite.colour_YXC)


def _body(shape, dx_YX, up_YX, tall) -> jax.Array:
  rise_YX = up_YX - 0.57 * tall
  round_YX = jnp.hypot(dx_YX, rise_YX) - 0.43 * tall
  corner = 0.05 * tall
  qx_YX = jnp.abs(dx_YX) - 0.415 * tall + corner
  qy_YX = jnp.abs(rise_YX) - 0.415 * tall + corner
  square_YX = (
    jnp.hypot(jnp.maximum(qx_YX, 0.0), jnp.maximum(qy_YX, 0.0))
    + jnp.minimum(jnp.maximum(qx_YX, qy_YX), 0.0)
    - corner
  )
  # the sides fall from (0, 1.04) to (0.50, 0.14) heights
  side_YX = 0.874 * jnp.abs(dx_YX) + 0.486 * (up_YX - 1.04 * tall)
  low_YX = 0.14 * tall - up_YX
  gap_YX = jnp.maximum(1.0 - jnp.abs(side_YX - low_YX) / (0.12 * tall), 0.0)
  pointed_YX = jnp.maximum(side_YX, low_YX)
  pointed_YX += 0.03 * tall * gap_YX * gap_YX
  return jnp.where(
    shape == 0, round_YX, jnp.where(shape == 1, square_YX, pointed_YX)
  )


def _legs(dx_YX, up_YX, tall, pose: Pose) -> jax.Array:
  distances = []
  for side in (-1.0, 1.0):
    swing = pose.gait * side * jnp.sin(pose.step)
    raised = pose.gait * jnp.maximum(side * jnp.cos(pose.step), 0.0)
    foot = (0.15 * side + 0.10 * swing) * tall
    across_YX = jnp.abs(dx_YX - foot) - 0.075 * tall
    middle_YX = up_YX - (0.12 + 0.07 * raised) * tall
    distances.append(jnp.maximum(across_YX, jnp.abs(middle_YX) - 0.12 * tall))
  return jnp.minimum(*distances)


def _cover(distance_YX) -> jax.Array:
  t_YX = jnp.clip(0.5 - distance_YX / 1.5, 0.0, 1.0)
  return t_YX * t_YX * (3.0 - 2.0 * t_YX)


def _over(image_YXC, cover_YX, colour) -> jax.Array:
  colour_YXC = jnp.broadcast_to(jnp.asarray(colour), image_YXC.shape)
  return image_YXC + cover_YX[..., None] * (colour_YXC - image_YXC)
