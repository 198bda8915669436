"""Flow matching between films and noise.

  x_t = (1 - t) x_0 + t e        v = e - x_0        x_0 = x_t - t v         (2)

t in [0, 1], 1 = pure noise. Lipman et al. 2023; Wan 2.1, section 4. Times are
float32 throughout: bfloat16 cannot tell neighbouring steps apart.
"""

import chex
import jax
import jax.numpy as jnp


def _like(t: jax.Array, x: jax.Array) -> jax.Array:
  """Appends axes to t, whose axes lead those of x."""
  chex.assert_equal_shape_prefix([t, x], t.ndim)
  return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)).astype(jnp.float32)


def noised(x0: jax.Array, noise: jax.Array, t: jax.Array) -> jax.Array:
  """x_t of eq. (2); t's axes lead those of x0."""
  t = _like(t, x0)
  return (1 - t) * x0 + t * noise


def velocity(x0: jax.Array, noise: jax.Array) -> jax.Array:
  """The target v of eq. (2)."""
  return noise - x0


def x0_of_velocity(x: jax.Array, v: jax.Array, t: jax.Array) -> jax.Array:
  """x_0 of eq. (2) as a velocity at t predicts it."""
  return x - _like(t, x) * v
