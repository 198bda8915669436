"""Diffusion times: the published grids, and the shift of training times."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion import timesteps


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
