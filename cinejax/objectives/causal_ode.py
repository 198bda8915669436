"""Causal ODE distillation: a student regresses to the ends of trajectories.

  x(1) ~ N(0, 1),   dx/dt = v_teacher(x, t), 48 Euler steps from 1 to 0     (1)
  L = E || f_theta(x(t), t) - x(0) ||^2,   f(x, t) = x - t v                (2)

where t is one of the student's four times, the same for the whole batch. A
causal teacher sees the same clean past as the student, so that the end of a
noisy chunk is determined. A bidirectional teacher makes a whole film at once,
which becomes the student's past; the end of a chunk then depends on the noise
of later chunks, which a causal student does not see, so that it can learn only
an average. (Causal Forcing, section 4; Self Forcing starts from a bidirectional
teacher.)

Trajectories are integrated for each batch, or come with the batch if they were
stored (data_prep/trajectories.py).
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow, solver, timesteps
from cinejax.models.denoiser import FilmFn
from cinejax.objectives import guidance as guidance_lib

Batch = dict[str, jax.Array]
# (parameters of the teacher, batch, noise_BFYXC, key) -> batch with
# trajectories
IntegrateFn = Callable[[Any, Batch, jax.Array, jax.Array], Batch]
STUDENT_STEPS = 4


def make_integrate(
  film_fn: FilmFn,
  *,
  frames: int,
  shift: float,
  grid: int,
  guidance: float,
  negative_text_WD: jax.Array,
  causal: bool,
) -> IntegrateFn:
  """Makes integrate(params, batch, noise_BFYXC, key) -> batch, eq. (1).

  Args:
    film_fn: the teacher, with the signature of `models.denoiser`'s film_fn.
    frames: F.
    shift: of the grid of times.
    grid: number of its steps, a multiple of 4; 48 in the papers.
    guidance: scale w of the teacher's guidance; 6 in the papers.
    negative_text_WD: encoded prompt of its negative branch.
    causal: whether the teacher sees the films of the batch as the past.

  Returns:
    A function that adds to a batch of teacher forcing `points`
    [B, N F, 4, Y, X, C], the states at the student's times, and `end`
    [B, N F, Y, X, C]. Unless `causal`, the end also replaces `latents`, the
    past that the student sees.
  """

  def integrate(params, batch, noise_BFYXC, key):
    films = guidance_lib.films(batch, frames)
    teacher = guidance_lib.guided(
      film_fn, films, key, negative_text_WD, guidance
    )
    points_J, end = trajectory(
      lambda x, t: teacher(params, x, t),
      noise_BFYXC.reshape(films.clean_BNFYXC.shape),
      grid=grid,
      shift=shift,
    )
    shape = noise_BFYXC.shape
    points = jnp.moveaxis(points_J.reshape(-1, *shape), 0, 2)
    extended = batch | {'points': points, 'end': end.reshape(shape)}
    return extended if causal else extended | {'latents': extended['end']}

  return integrate


def make_causal_ode_loss(
  film_fn: FilmFn,
  integrate: IntegrateFn | None,
  *,
  frames: int,
  shift: float,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (2).

  Args:
    film_fn: the student.
    integrate: the function of `make_integrate`, which gets the network
      `teacher` of `given`; None: batches come with their trajectories.
    frames: F.
    shift: of the grid of times.
  """

  def loss_fn(params, batch, key, given):
    for_point, for_noise, for_routing = jax.random.split(key, 3)
    if integrate is not None:
      noise = jax.random.normal(for_noise, batch['latents'].shape, jnp.float32)
      batch = integrate(given['teacher'], batch, noise, for_routing)
      batch = jax.lax.stop_gradient(batch)
    films = guidance_lib.films(batch, frames)
    shape = films.clean_BNFYXC.shape
    index = jax.random.randint(for_point, (), 0, STUDENT_STEPS)
    times = jnp.asarray(timesteps.student_grid(STUDENT_STEPS, shift))
    t = jnp.broadcast_to(times[index], films.shape_BNF)
    x = batch['points'][:, :, index].reshape(shape)
    student = guidance_lib.conditional(film_fn, films, for_routing)
    guess = flow.x0_of_velocity(x, student(params, x, t), t)
    loss = films.mean(jnp.square(guess - batch['end'].reshape(shape)))
    return loss, {'loss': loss}

  return loss_fn


def trajectory(
  velocity_fn: Callable[[jax.Array, jax.Array], jax.Array],
  noise_BNFYXC: jax.Array,
  *,
  grid: int,
  shift: float,
) -> tuple[jax.Array, jax.Array]:
  """Integrates eq. (1).

  Args:
    velocity_fn: the teacher, (x, t_BNF) -> velocity.
    noise_BNFYXC: x(1).
    grid: number of steps.
    shift: of the grid of times.

  Returns:
    The states [4, B, N, F, Y, X, C] at the student's times, and x(0).

  Raises:
    ValueError: `grid` is not a multiple of 4.
  """
  times = timesteps.euler_grid(grid, shift)
  stride, left = divmod(grid, STUDENT_STEPS)
  if left:
    raise ValueError(
      f"a grid of {grid} steps misses the student's times; use a multiple of "
      f'{STUDENT_STEPS}'
    )
  shape_BNF = noise_BNFYXC.shape[:3]

  def step(x, pair):
    t, t_next = (jnp.broadcast_to(time, shape_BNF) for time in pair)
    return solver.euler_step(x, velocity_fn(x, t), t, t_next), None

  def leg(x, pairs):  # from one of the student's times to the next one
    end, _ = jax.lax.scan(step, x, pairs)
    return end, x

  pairs = np.stack([times[:-1], times[1:]], -1).reshape(-1, stride, 2)
  end, points_J = jax.lax.scan(leg, noise_BNFYXC, jnp.asarray(pairs))
  return points_J, end
