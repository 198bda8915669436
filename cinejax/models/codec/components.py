"""Principal components of blocks of pixels, and their channels made alike.

    raw_c = V_c' (block - mean),   V = the first C eigenvectors              (1)

A code is as loud in a channel as that channel's deviation. `even` gives all
channels the same without squashing any: a rotation, which changes no distance
between two codes and which a model's first layer undoes if that is best.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Components(NamedTuple):
  """Of blocks of G numbers: what eq. (1) needs, largest variance first."""

  mean_G: jax.Array
  components_GC: jax.Array  # orthonormal columns
  variance_C: jax.Array


def principal(blocks_BFYXG: jax.Array, channels: int) -> Components:
  """The `channels` first components of all blocks together."""
  blocks_NG = blocks_BFYXG.reshape(-1, blocks_BFYXG.shape[-1])
  mean_G = blocks_NG.mean(0)
  centred_NG = blocks_NG - mean_G[None]
  variance_G, vectors_GG = jnp.linalg.eigh(
    centred_NG.T @ centred_NG / len(blocks_NG)
  )
  largest = slice(None, -channels - 1, -1)  # eigh counts upwards
  components_GC = vectors_GG[:, largest]
  # eigenvectors have no sign of their own: the largest number is positive
  top_C = jnp.argmax(jnp.abs(components_GC), 0)
  sign_C = jnp.sign(components_GC[top_C, jnp.arange(channels)])
  return Components(
    mean_G=mean_G,
    components_GC=components_GC * sign_C[None],
    variance_C=jnp.maximum(variance_G[largest], 1e-6),
  )


def even(variance_C: np.ndarray) -> np.ndarray:
  """A rotation [C, C] after which uncorrelated channels vary alike.

  C - 1 turns, each of the most and the least varying channel, until the one
  of them has the mean variance (Schur and Horn: there always is such a turn).

  Args:
    variance_C: of each channel before, all positive.

  Returns:
    float32 R with every diagonal number of R' diag(variance_C) R the same.
  """
  cov_CC = np.diag(np.asarray(variance_C, np.float64))
  mean, turns_CC = np.trace(cov_CC) / len(cov_CC), np.eye(len(cov_CC))
  for _ in range(len(cov_CC) - 1):
    above_C = np.diag(cov_CC) - mean
    i, j = above_C.argmax(), above_C.argmin()
    high, low, both = above_C[i], above_C[j], cov_CC[i, j]
    if high < 1e-9 * mean or low > -1e-9 * mean:
      break
    # high + 2 t both + t^2 low = 0, t the tangent of the turn
    t = (both + np.sqrt(both**2 - high * low)) / -low
    turn_CC = np.eye(len(cov_CC))
    turn_CC[[i, j], [i, j]] = 1 / np.hypot(1, t)
    turn_CC[j, i], turn_CC[i, j] = np.array([t, -t]) / np.hypot(1, t)
    cov_CC = turn_CC.T @ cov_CC @ turn_CC
    turns_CC = turns_CC @ turn_CC
  return turns_CC.astype(np.float32)
