"""Teacher forcing on whole multi-shot films: the base model's objective.

  L = E || v_theta(x_t^(i); x_0^(<i), c_pi(i), t_i) - (e - x_0^(i)) ||^2

over the chunks i of a film, each noised at its own t (Causal Forcing) or all
at one (CausalCine), `diffusion.time_per`. One pass over the 2N segments of
eq. (4): clean 1..N at t = 0, and noisy 1..N, on which alone the loss stands.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.diffusion import flow, timesteps
from cinejax.diffusion.config import DiffusionConfig
from cinejax.models.denoiser import FilmFn
from cinejax.objectives import guidance
from cinejax.objectives.guidance import Films

Batch = dict[str, jax.Array]


def make_teacher_forcing_loss(
  film_fn: FilmFn,
  diffusion: DiffusionConfig,
  *,
  frames: int,
  negative_text_WD: jax.Array,
  drop_text: float,
) -> Callable[[Any, Batch, jax.Array], tuple[jax.Array, Batch]]:
  """-> loss_fn(params, batch, key) -> (loss, metrics).

  batch: latents [B, N F, Y, X, C], text [B, N, W, D], mask [B, N] (0 where a
  chunk is padding), shots int32 [B, N]. `frames` = F. A fraction `drop_text`
  of the films reads the negative prompt throughout, for guidance.
  """

  def loss_fn(params, batch, key):
    for_drop, for_loss = jax.random.split(key)
    films = guidance.films(batch, frames)
    drop_B = jax.random.bernoulli(
      for_drop, drop_text, films.text_BNWD.shape[:1]
    )
    text_BNWD = jnp.where(
      drop_B[:, None, None, None], negative_text_WD[None, None], films.text_BNWD
    )
    films = films.replace(text_BNWD=text_BNWD)
    loss = velocity_loss(film_fn, params, films, diffusion, for_loss)
    return loss, {'loss': loss}

  return loss_fn


def velocity_loss(
  film_fn: FilmFn,
  params: Any,
  films: Films,
  diffusion: DiffusionConfig,
  key: jax.Array,
) -> jax.Array:
  """L of these films."""
  for_noise, for_times, for_routing = jax.random.split(key, 3)
  clean = films.clean_BNFYXC
  noise = jax.random.normal(for_noise, clean.shape, jnp.float32)
  t_BNF = timesteps.film_times(for_times, films.shape_BNF, diffusion)
  velocity_fn = guidance.conditional(film_fn, films, for_routing)
  v = velocity_fn(params, flow.noised(clean, noise, t_BNF), t_BNF)
  return films.mean(jnp.square(v - flow.velocity(clean, noise)))
