"""Principal components of blocks of pixels, and channels of equal variance.

    raw_c = V_c' (block - mean),   V = the first C eigenvectors              (1)

The variances of principal components differ by orders of magnitude.
`equal_variance_rotation` makes them equal without scaling any channel: a
rotation changes no distance between two codes, and the first layer of a model
can undo it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Components(NamedTuple):
  """Statistics of blocks of G values, largest variance first; eq. (1)."""

  mean_G: jax.Array
  components_GC: jax.Array  # orthonormal columns
  variance_C: jax.Array


def principal_components(blocks_BFYXG: jax.Array, channels: int) -> Components:
  """The first `channels` principal components over all blocks."""
  blocks_NG = blocks_BFYXG.reshape(-1, blocks_BFYXG.shape[-1])
  mean_G = blocks_NG.mean(0)
  centred_NG = blocks_NG - mean_G[None]
  variance_G, vectors_GG = jnp.linalg.eigh(
    centred_NG.T @ centred_NG / len(blocks_NG)
  )
  largest = slice(None, -channels - 1, -1)  # eigh counts upwards
  components_GC = vectors_GG[:, largest]
  # the sign of an eigenvector is arbitrary: its largest value is positive
  top_C = jnp.argmax(jnp.abs(components_GC), 0)
  sign_C = jnp.sign(components_GC[top_C, jnp.arange(channels)])
  return Components(
    mean_G=mean_G,
    components_GC=components_GC * sign_C[None],
    variance_C=jnp.maximum(variance_G[largest], 1e-6),
  )


def equal_variance_rotation(variance_C: np.ndarray) -> np.ndarray:
  """A rotation [C, C] that gives uncorrelated channels equal variances.

  It is a product of at most C - 1 plane rotations. Each rotates the channels
  of largest and smallest variance until the first has the mean variance; such
  an angle always exists (Schur-Horn theorem).

  Args:
    variance_C: variances of the channels, all positive.

  Returns:
    float32 R such that R' diag(variance_C) R has a constant diagonal.
  """
  cov_CC = np.diag(np.asarray(variance_C, np.float64))
  mean, rotation_CC = np.trace(cov_CC) / len(cov_CC), np.eye(len(cov_CC))
  for _ in range(len(cov_CC) - 1):
    above_C = np.diag(cov_CC) - mean
    i, j = above_C.argmax(), above_C.argmin()
    high, low, both = above_C[i], above_C[j], cov_CC[i, j]
    if high < 1e-9 * mean or low > -1e-9 * mean:
      break
    # high + 2 t both + t^2 low = 0, t = tangent of the angle
    t = (both + np.sqrt(both**2 - high * low)) / -low
    plane_CC = np.eye(len(cov_CC))
    plane_CC[[i, j], [i, j]] = 1 / np.hypot(1, t)
    plane_CC[j, i], plane_CC[i, j] = np.array([t, -t]) / np.hypot(1, t)
    cov_CC = plane_CC.T @ cov_CC @ plane_CC
    rotation_CC = rotation_CC @ plane_CC
  return rotation_CC.astype(np.float32)
