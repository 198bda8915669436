"""Cameras of single latent frames: moves, poses, and rays of pixels.

A move changes the pose of the camera, from camera to world (x to the right, y
down, z forward), by .08 or 3 degrees, as in minWM (shengshu-ai/minWM):

    R' = R Ry(yaw) Rx(pitch),   t' = t + R' (right, -up, forward)           (1)

Poses are relative to the camera before the chunk, so that they stay as small
as in training however long a film is. A network sees them as the Plücker
coordinates of the ray through the middle of each latent pixel (u, v), in
widths and heights, by the focal lengths (fx, fy) in the same units:

    d = R ((u - 1/2) / fx, (v - 1/2) / fy, 1) / |…|,   m = t x d            (2)

(CameraCtrl, arXiv 2404.02101, section 3.2.)
"""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

STEP = 0.08  # of a move, in minWM's unit
TURN = np.radians(3.0)
RAY = 6  # numbers of a ray: m and d

# keys of cinejax/film/moves.py: (what changes, by how much)
MOVES = {
  'w': ('forward', STEP),
  's': ('forward', -STEP),
  'a': ('right', -STEP),
  'd': ('right', STEP),
  'u': ('up', STEP),
  'dn': ('up', -STEP),
  'j': ('yaw', -TURN),
  'l': ('yaw', TURN),
  'i': ('pitch', TURN),
  'k': ('pitch', -TURN),
}


def poses(frames: Sequence[Mapping[str, float]]) -> np.ndarray:
  """Eq. (1), float32 [F, 12]: the camera of each latent frame of a chunk.

  Each frame maps the keys of its moves to how often they are made.
  """
  rotation, place, found = np.eye(3), np.zeros(3), []
  for moves in frames:
    change = dict.fromkeys(('forward', 'right', 'up', 'yaw', 'pitch'), 0.0)
    for key, times in moves.items():
      name, amount = MOVES[key]
      change[name] += times * amount
    rotation = rotation @ _about_y(change['yaw']) @ _about_x(change['pitch'])
    place = place + rotation @ (
      change['right'],
      -change['up'],
      change['forward'],
    )
    found.append(np.concatenate([rotation, place[:, None]], 1).ravel())
  return np.asarray(found, np.float32)


def rays(
  pose: jax.Array, focal: tuple[float, float], rows: int, columns: int
) -> jax.Array:
  """Eq. (2), float32 [..., rows, columns, RAY]: (m, d) of each latent pixel.

  Args:
    pose: [..., 12]; zeros give rays of zeros.
    focal: (fx, fy), in widths and heights of a frame.
    rows: of a latent frame.
    columns: of a latent frame.
  """
  matrix = pose.astype(jnp.float32).reshape(*pose.shape[:-1], 3, 4)
  v = ((np.arange(rows) + 0.5) / rows - 0.5) / focal[1]
  u = ((np.arange(columns) + 0.5) / columns - 0.5) / focal[0]
  through = np.stack(
    [*np.broadcast_arrays(u[None], v[:, None]), np.ones((rows, columns))], -1
  ).astype(np.float32)
  direction = jnp.einsum('...ij,yxj->...yxi', matrix[..., :3], through)
  length = jnp.linalg.norm(direction, axis=-1, keepdims=True)
  direction /= jnp.maximum(length, 1e-6)
  place = matrix[..., None, None, :, 3]
  moment = jnp.cross(jnp.broadcast_to(place, direction.shape), direction)
  return jnp.concatenate([moment, direction], -1)


def _about_x(angle: float) -> np.ndarray:
  c, s = np.cos(angle), np.sin(angle)
  return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _about_y(angle: float) -> np.ndarray:
  c, s = np.cos(angle), np.sin(angle)
  return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
