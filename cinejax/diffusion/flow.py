"""Flow matching: the path between films and noise.

  x_t = (1 - t) x_0 + t e        v = e - x_0        x_0 = x_t - t v         (2)

x_0 is a film, e noise, and t is in [0, 1]; at 1 there is only noise. (Lipman et
al. 2023; Wan 2.1, section 4.) Times are float32 throughout, because bfloat16
would round neighbouring steps to the same value.
"""

import chex
import jax
import jax.numpy as jnp


def _like(t: jax.Array, x: jax.Array) -> jax.Array:
  """Appends axes to `t`, whose axes are the first ones of x; float32."""
  chex.assert_equal_shape_prefix([t, x], t.ndim)
  return t.reshape(t.shape + (1,) * (x.ndim - t.ndim)).astype(jnp.float32)


def noised(x0: jax.Array, noise: jax.Array, t: jax.Array) -> jax.Array:
  """x_t of eq. (2); the axes of `t` are the first ones of `x0`."""
  t = _like(t, x0)
  return (1 - t) * x0 + t * noise


def velocity(x0: jax.Array, noise: jax.Array) -> jax.Array:
  """v of eq. (2), the target of training."""
  return noise - x0


def x0_of_velocity(x: jax.Array, v: jax.Array, t: jax.Array) -> jax.Array:
  """x_0 of eq. (2), as predicted by the velocity v at time t."""
  return x - _like(t, x) * v
