"""Shortcuts of the video autoencoder of Wan 2.2, which have no parameters.

They resample t frames and s rows and columns, of D features to E:

    average:   each block of t s s pixels becomes one pixel of D t s s features,
               of which neighbouring ones are averaged to E. A film's first
               frame comes alone: zeros stand for the t - 1 before it       (1)
    duplicate: D features are repeated to E t s s, which become a block; of a
               film's first frame only the last of t is kept                (2)

(wan/modules/vae2_2.py: AvgDown3D, DupUp3D.)
"""

import einops
import jax
import jax.numpy as jnp


def average(width: int, t: int, s: int, x_BTYXD: jax.Array) -> jax.Array:
  """Eq. (1); `width` is E."""
  missing = -x_BTYXD.shape[1] % t
  x_BTYXD = jnp.pad(x_BTYXD, [(0, 0), (missing, 0), *[(0, 0)] * 3])
  blocks = einops.rearrange(
    x_BTYXD, 'B (T t) (Y y) (X x) D -> B T Y X (D t y x)', t=t, y=s, x=s
  )
  return einops.reduce(blocks, 'B T Y X (D n) -> B T Y X D', 'mean', D=width)


def duplicate(
  width: int, t: int, s: int, x_BTYXD: jax.Array, first: bool
) -> jax.Array:
  """Eq. (2); `first`: x is a film's first frame."""
  repeats = width * t * s * s // x_BTYXD.shape[-1]
  x_BTYXD = einops.rearrange(
    jnp.repeat(x_BTYXD, repeats, axis=-1),
    'B T Y X (D t y x) -> B (T t) (Y y) (X x) D',
    t=t,
    y=s,
    x=s,
  )
  return x_BTYXD[:, t - 1 :] if first else x_BTYXD
