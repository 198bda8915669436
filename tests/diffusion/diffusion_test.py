"""Flow, times and solvers: round trips, and cases with exact results."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion import flow, solver, timesteps


def _pair():
  keys = jax.random.split(jax.random.key(0))
  return (jax.random.normal(key, (2, 3, 4)) for key in keys)


def test_velocity_gives_back_x0_at_every_time():
  x0, noise = _pair()
  for t in (0.0, 0.3, 1.0):
    t_B = jnp.full(2, t)
    x = flow.noised(x0, noise, t_B)
    back = flow.x0_of_velocity(x, flow.velocity(x0, noise), t_B)
    np.testing.assert_allclose(back, x0, atol=1e-6)


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


def test_the_grid_is_wan_s():
  published = (0.999999, 0.972253, 0.937578, 0.89301, 0.833611, 0.750499)
  published += (0.625936, 0.418607, 0.0)
  np.testing.assert_allclose(timesteps.euler_grid(8, 5.0), published, atol=2e-3)


@pytest.mark.parametrize(
  ('steps', 'grid'),
  [(4, (1, 0.9375, 0.83333, 0.625, 0)), (2, (1, 0.83333, 0)), (1, (1, 0))],
)
def test_student_grids(steps, grid):
  np.testing.assert_allclose(
    timesteps.student_grid(steps, 5.0), grid, atol=1e-5
  )


def test_times_are_shifted_float32():
  t = timesteps.sample_times(jax.random.key(0), (20_000,), 5.0)
  assert t.dtype == jnp.float32
  assert 0 <= t.min() and t.max() <= 1
  # The median of tau(u) is tau(1/2) = s / (1 + s).
  assert float(jnp.median(t)) == pytest.approx(5 / 6, abs=0.01)
