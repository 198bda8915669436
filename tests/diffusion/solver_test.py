"""Solver steps: cases with exact results."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow, solver, timesteps


def _pair():
  keys = jax.random.split(jax.random.key(0))
  return (jax.random.normal(key, (2, 3, 4)) for key in keys)


def test_euler_is_exact_on_a_straight_flow():
  x0, noise = _pair()
  v = flow.velocity(x0, noise)
  x = noise
  grid = timesteps.euler_grid(5, 5.0)
  for t, t_next in itertools.pairwise(grid):
    x = solver.euler_step(x, v, jnp.full(2, t), jnp.full(2, t_next))
  np.testing.assert_allclose(x, x0, atol=1e-5)


def test_a_few_step_lands_on_the_noised_x0():
  x0, noise = _pair()
  fresh = jnp.ones_like(x0)
  one, half = jnp.ones(2), jnp.full(2, 0.5)
  v = flow.velocity(x0, noise)
  x = solver.few_step(noise, v, one, half, fresh)
  np.testing.assert_allclose(x, 0.5 * x0 + 0.5 * fresh, atol=1e-6)
