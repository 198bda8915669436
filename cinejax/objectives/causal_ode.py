"""Causal ODE distillation: a student regresses where its teacher would end.

  x(1) ~ N(0, 1),   dx/dt = v_teacher(x, t), 48 Euler steps from 1 to 0     (1)
  L = E || f_theta(x(t), t) - x(0) ||^2,   f(x, t) = x - t v                (2)

at one t of the student's four for the whole batch. Teacher and student see the
clean past, so that a noisy chunk has one end: a bidirectional teacher's would
depend on what comes later, and the student would learn an average. (Causal
Forcing, section 4; Self Forcing's initialisation with a causal teacher.)
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow, solver, timesteps
from cinejax.objectives import guidance as guidance_lib

Batch = dict[str, jax.Array]
STUDENT_STEPS = 4


def make_causal_ode_loss(
  film_fn: Callable[..., jax.Array],
  *,
  frames: int,
  shift: float,
  grid: int,
  guidance: float,
  negative_text_WD: jax.Array,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """-> loss_fn(params, batch, key, given) -> (loss, metrics), eq. (2).

  Arguments as in `make_consistency_loss`; `grid` is a multiple of 4. The
  trajectory is integrated anew for each batch.
  """

  def loss_fn(params, batch, key, given):
    films = guidance_lib.films(batch, frames)
    for_point, for_noise, for_routing = jax.random.split(key, 3)
    teacher = guidance_lib.guided(
      film_fn, films, for_routing, negative_text_WD, guidance
    )
    points_J, end = trajectory(
      lambda x, t: teacher(given['teacher'], x, t),
      jax.random.normal(for_noise, films.clean_BNFYXC.shape, jnp.float32),
      grid=grid,
      shift=shift,
    )
    index = jax.random.randint(for_point, (), 0, STUDENT_STEPS)
    times = jnp.asarray(timesteps.student_grid(STUDENT_STEPS, shift))
    t = jnp.broadcast_to(times[index], films.shape_BNF)
    x, end = jax.lax.stop_gradient((points_J[index], end))
    student = guidance_lib.conditional(film_fn, films, for_routing)
    guess = flow.x0_of_velocity(x, student(params, x, t), t)
    loss = films.mean(jnp.square(guess - end))
    return loss, {'loss': loss}

  return loss_fn


def trajectory(
  velocity_fn: Callable[[jax.Array, jax.Array], jax.Array],
  noise_BNFYXC: jax.Array,
  *,
  grid: int,
  shift: float,
) -> tuple[jax.Array, jax.Array]:
  """Eq. (1): the states [4, B, N, F, ...] at the student's times, and the end.

  `velocity_fn(x, t_BNF)` is the teacher.
  """
  times = timesteps.euler_grid(grid, shift)
  stride, left = divmod(grid, STUDENT_STEPS)
  if left:
    raise ValueError(f"{grid} steps do not pass the student's four times")
  shape_BNF = noise_BNFYXC.shape[:3]

  def step(x, pair):
    t, t_next = (jnp.broadcast_to(time, shape_BNF) for time in pair)
    return solver.euler_step(x, velocity_fn(x, t), t, t_next), None

  def leg(x, pairs):  # from one of the student's times to the next
    end, _ = jax.lax.scan(step, x, pairs)
    return end, x

  pairs = np.stack([times[:-1], times[1:]], -1).reshape(-1, stride, 2)
  end, points_J = jax.lax.scan(leg, noise_BNFYXC, jnp.asarray(pairs))
  return points_J, end
