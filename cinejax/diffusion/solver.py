"""One step from t to an earlier time, by ODE or by renoising."""

import jax

from cinejax.diffusion import flow


def euler_step(
  x: jax.Array, v: jax.Array, t: jax.Array, t_next: jax.Array
) -> jax.Array:
  """Follows the flow: exact where the velocity is constant on the way."""
  return flow.x0_of_velocity(x, v, t - t_next)


def few_step(
  x: jax.Array, v: jax.Array, t: jax.Array, t_next: jax.Array, noise: jax.Array
) -> jax.Array:
  """The student's step: to x_0, then back to t_next with fresh noise."""
  return flow.noised(flow.x0_of_velocity(x, v, t), noise, t_next)
