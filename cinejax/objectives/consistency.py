"""Causal consistency distillation: a few-step student without trajectories.

  x_u' = x_u - (u - u') v_teacher(x_u, u)                                   (1)
  L = E || f_theta(x_u, u) - sg f_ema(x_u', u') ||^2,   f(x, u) = x - u v   (2)

u > u' are neighbours on a grid of times, drawn for each chunk or film, and sg
stops gradients. All networks see the clean past; the teacher is guided. Where
u' = 0, f is the identity, and the target is the end of the teacher's step.
(Causal Forcing++, section 3, which draws one pair for the whole batch; times
are float32, because bfloat16 would round neighbours to the same value.)
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
  per_chunk: bool,
  last_pair: bool,
  guidance: float,
  negative_text_WD: jax.Array,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (2).

  `batch` is that of teacher forcing; `given` has the networks `teacher` and
  `ema`, the running average of the student.

  Args:
    film_fn: all three networks; that of `models.denoiser.make_film_fn`.
    frames: F.
    shift: of the grid of times.
    grid: number of its steps; 48 in the paper.
    per_chunk: whether each chunk has a pair of its own, or each film.
    last_pair: whether (u, 0) is among the pairs.
    guidance: scale w of the teacher's guidance; 3 in the paper.
    negative_text_WD: encoded prompt of the teacher's negative branch.
  """
  times = timesteps.euler_grid(grid, shift)

  def loss_fn(params, batch, key, given):
    films = guidance_lib.films(batch, frames)
    for_pair, for_noise, for_routing = jax.random.split(key, 3)
    batch, chunks, _ = films.shape_BNF
    drawn = (batch, chunks if per_chunk else 1, 1)
    pair = jax.random.randint(for_pair, drawn, 0, grid - (not last_pair))
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
