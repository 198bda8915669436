"""The flow: the velocity gives back the film at every time."""

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow


def test_velocity_gives_back_x0_at_every_time():
  keys = jax.random.split(jax.random.key(0))
  x0, noise = (jax.random.normal(key, (2, 3, 4)) for key in keys)
  for t in (0.0, 0.3, 1.0):
    t_B = jnp.full(2, t)
    x = flow.noised(x0, noise, t_B)
    back = flow.x0_of_velocity(x, flow.velocity(x0, noise), t_B)
    np.testing.assert_allclose(back, x0, atol=1e-6)
