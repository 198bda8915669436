"""Causal consistency distillation: a first few-step student, without films of
the teacher.

  x_u' = x_u - (u - u') v_teacher(x_u, u)                                   (1)
  L = E || f_theta(x_u, u) - sg f_ema(x_u', u') ||^2,   f(x, u) = x - u v   (2)

u > u' are neighbours on a grid of times, one pair for the batch; all networks
see the clean past, the teacher with guidance. Where u' = 0, f is the identity
and the target the end of the teacher's step. (Causal Forcing++, section 3;
times are float32, since bfloat16 rounds neighbours together.)
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.diffusion import flow, solver, timesteps
from cinejax.models.denoiser import FilmFn
from cinejax.objectives import guidance as guidance_lib

Batch = dict[str, jax.Array]


def make_consistency_loss(
  film_fn: FilmFn,
  *,
  frames: int,
  shift: float,
  grid: int,
  last_pair: bool,
  guidance: float,
  negative_text_WD: jax.Array,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """-> loss_fn(params, batch, key, given) -> (loss, metrics), eq. (2).

  Args:
    film_fn: of `models.denoiser.make_film_fn`.
    frames: F.
    shift: of the grid of times.
    grid: how many steps it has, 48 in the paper.
    last_pair: whether (u, 0) is among the pairs.
    guidance: of the teacher, 3 in the paper.
    negative_text_WD: what the teacher's other branch reads.

  batch is that of teacher forcing; given holds the networks `teacher` and
  `ema`, the student's running average.
  """
  times = timesteps.euler_grid(grid, shift)

  def loss_fn(params, batch, key, given):
    films = guidance_lib.films(batch, frames)
    for_pair, for_noise, for_routing = jax.random.split(key, 3)
    pair = jax.random.randint(for_pair, (), 0, grid - (not last_pair))
    t, t_next = (
      jnp.broadcast_to(jnp.asarray(times)[index], films.shape_BNF)
      for index in (pair, pair + 1)
    )
    noise = jax.random.normal(for_noise, films.clean_BNFYXC.shape, jnp.float32)
    x = flow.noised(films.clean_BNFYXC, noise, t)
    teacher = guidance_lib.guided(
      film_fn, films, for_routing, negative_text_WD, guidance
    )
    student = guidance_lib.conditional(film_fn, films, for_routing)
    x_next = solver.euler_step(x, teacher(given['teacher'], x, t), t, t_next)
    target = flow.x0_of_velocity(
      x_next, student(given['ema'], x_next, t_next), t_next
    )
    guess = flow.x0_of_velocity(x, student(params, x, t), t)
    loss = films.mean(jnp.square(guess - jax.lax.stop_gradient(target)))
    return loss, {'loss': loss}

  return loss_fn
