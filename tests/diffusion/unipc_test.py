"""UniPC against exact results, and against diffusers' numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.diffusion import flow, timesteps, unipc

# UniPCMultistepScheduler(prediction_type='flow_prediction', use_flow_sigmas,
# solver_order=2, solver_type='bh2') of diffusers 0.42.1 in float64, given the
# grid of eq. (3) of timesteps.py with s = 5 and 1 - 1e-6 for 1, from START
# along v(x, t) = sin(3 x) + t x: x after each of 8 steps
START = (1.0, -0.5, 0.25)
DIFFUSERS = (
  (0.968303390895123, -0.4584044284221518, 0.2241220841378619),
  (0.9269715417893525, -0.4098941503624695, 0.196243801859503),
  (0.8709172772538922, -0.35393386160474544, 0.16653914792196353),
  (0.7924004932155442, -0.28822369671353654, 0.13306377232176236),
  (0.6761806211541355, -0.2146379647330378, 0.09779476055758797),
  (0.49708943736154426, -0.13929489646313087, 0.06327032947124023),
  (0.24347950104940058, -0.08129164012820578, 0.037591506874031164),
  (-0.07678971741060525, 0.03343177924516599, -0.01582464075927832),
)


def _roll(x, velocity_fn, grid, table=None):
  """Samples along `v` and returns x after each step."""
  table = unipc.table(grid) if table is None else table
  history, seen = unipc.no_history(x), []
  for t, row in zip(grid[:-1], table, strict=True):
    t = jnp.full(x.shape[:1], t)
    x, history = unipc.step(
      x, velocity_fn(x, t[:, None]), t, history, jnp.asarray(row)
    )
    seen.append(x)
  return jnp.stack(seen)


def _curved(x, t):
  return jnp.sin(3 * x) + t * x


@pytest.mark.parametrize('steps', [1, 2, 3, 8, 50])
def test_it_is_exact_on_a_straight_flow(steps):
  key = jax.random.key(0)
  x0, noise = jax.random.normal(key, (2, 4, 3))
  v = flow.velocity(x0, noise)
  grid = timesteps.euler_grid(steps, 5.0)
  seen = _roll(noise, lambda x, t: v, grid)
  np.testing.assert_allclose(seen[-1], x0, atol=2e-5)


def test_it_is_that_of_diffusers():
  x = jnp.asarray(START)[None]
  grid = timesteps.euler_grid(8, 5.0)
  seen = _roll(x, _curved, grid)[:, 0]
  np.testing.assert_allclose(seen, DIFFUSERS, atol=2e-6)
  for place in ((4, 2), (4, 3), (6, 6)):  # older x_0, newer x_0, D of (1)
    other = unipc.table(grid)
    other[place] += 1e-3
    off = np.abs(_roll(x, _curved, grid, other)[:, 0] - np.array(DIFFUSERS))
    assert off.max() > 2e-6
