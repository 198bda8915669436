"""Teaches a base prompts of a new form, from a base that reads the old one.

  L = E || v_theta(x_t^(i); x_0^(<i), c'_i, t_i)
           - v_base(x_t^(i); x_0^(<i), c_i, t_i) ||^2                      (1)

c_i is a prompt that the frozen base understands, and c'_i one of the new form
that says the same, such as actions of single frames in place of words. The film
need not show what they say, and should not always. A noisy film itself shows
which way a character walks, so that under true prompts the direction that a
prompt names hardly changes the velocity, and neither teacher forcing nor (1)
teaches it in a reasonable time. Under prompts that contradict the film, it
changes the velocity much, at every time.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.diffusion.config import DiffusionConfig
from cinejax.models.denoiser import FilmFn
from cinejax.objectives import guidance
from cinejax.objectives.teacher_forcing import drop_prompts, noised_films

Batch = dict[str, jax.Array]


def make_retelling_loss(
  film_fn: FilmFn,
  base_film_fn: FilmFn,
  diffusion: DiffusionConfig,
  *,
  frames: int,
  negative_text_WD: jax.Array,
  drop_text: float,
) -> Callable[
  [Any, Batch, jax.Array, Mapping[str, Any]], tuple[jax.Array, Batch]
]:
  """Makes loss_fn(params, batch, key, given) -> (loss, metrics), eq. (1).

  The batch is that of the base with `told` [B, N, W', D], the prompts of the
  old form; `given` has `teller`, the parameters of the frozen base.

  Args:
    film_fn: the network that learns.
    base_film_fn: the frozen base.
    diffusion: times, noisy copies and the noise of the history.
    frames: F.
    negative_text_WD: the negative prompt of the new form; its first W' rows are
      that of the old one.
    drop_text: the share of films that read the negative prompt throughout.
  """

  def loss_fn(params, batch, key, given):
    for_drop, for_loss = jax.random.split(key)
    films = guidance.films(batch, frames)
    retold, told = (
      drop_prompts(for_drop, text, negative_text_WD[: text.shape[2]], drop_text)
      for text in (films.text_BNWD, batch['told'])
    )
    noised = noised_films(films, diffusion, for_loss)

    def velocity(film_fn, params, text_BNWD):
      read = noised.films.replace(text_BNWD=text_BNWD)
      return guidance.apply(
        film_fn, read, noised.for_routing, params, noised.x_t, noised.t
      )[0]

    target = jax.lax.stop_gradient(
      velocity(base_film_fn, given['teller'], told)
    )
    loss = films.mean(jnp.square(velocity(film_fn, params, retold) - target))
    return loss, {'loss': loss}

  return loss_fn
