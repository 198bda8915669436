"""Diffusion times t, from 1 (noise) to 0 (clean): samplers and grids.

  tau(u) = s u / (1 + (s - 1) u)                                            (3)

shifts a uniform u towards noise (Esser et al. 2024; s = 5 in Wan 2.1).
"""

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion.config import DiffusionConfig

# Unshifted times of the student's steps (Self Forcing; Causal Forcing++).
STUDENT_STEPS = {1: (1.0,), 2: (1.0, 0.5), 4: (1.0, 0.75, 0.5, 0.25)}


def shifted(u, shift: float):
  """tau(u) of eq. (3) with s = `shift`, for arrays of JAX or NumPy."""
  return shift * u / (1 + (shift - 1) * u)


def sample_times(key: jax.Array, shape: tuple[int, ...], shift: float):
  """Shifted uniform times, float32, for training."""
  return shifted(jax.random.uniform(key, shape, jnp.float32), shift)


def film_times(
  key: jax.Array, shape_BNF: tuple[int, int, int], cfg: DiffusionConfig
) -> jax.Array:
  """Training times t_BNF, one for each chunk or one for each film.

  A share `cfg.pure_noise` of the chunks or films has t = 1.
  """
  batch, chunks, _ = shape_BNF
  drawn = (batch, chunks if cfg.time_per == 'chunk' else 1, 1)
  t = sample_times(key, drawn, cfg.shift)
  for_pure = jax.random.fold_in(key, 0)
  pure = jax.random.bernoulli(for_pure, cfg.pure_noise, drawn)
  return jnp.broadcast_to(jnp.where(pure, 1.0, t), shape_BNF)


def euler_grid(steps: int, shift: float) -> np.ndarray:
  """Descending times from 1 to 0 of J = `steps` steps, float32 [J + 1]."""
  return shifted(np.linspace(1, 0, steps + 1), shift).astype(np.float32)


def student_grid(steps: int, shift: float) -> np.ndarray:
  """Times of a student of J = `steps` steps and the final 0, float32 [J + 1].

  With s = 5 they are 1, .9375, .8333, .625 for four steps, 1, .8333 for two and
  1 for one (Self Forcing, Causal Forcing++). Raises KeyError for other numbers.
  """
  grid = shifted(np.array(STUDENT_STEPS[steps]), shift)
  return np.append(grid, 0).astype(np.float32)
