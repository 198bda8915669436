"""One step from t to an earlier time, along the flow or with new noise."""

import jax

from cinejax.diffusion import flow


def euler_step(
  x: jax.Array, v: jax.Array, t: jax.Array, t_next: jax.Array
) -> jax.Array:
  """One Euler step along the flow; exact if the velocity is constant."""
  return flow.x0_of_velocity(x, v, t - t_next)


def few_step(
  x: jax.Array, v: jax.Array, t: jax.Array, t_next: jax.Array, noise: jax.Array
) -> jax.Array:
  """A few-step student's step: to x_0, then back to t_next with new noise."""
  return flow.noised(flow.x0_of_velocity(x, v, t), noise, t_next)
