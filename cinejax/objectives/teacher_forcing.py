"""Teacher forcing on whole multi-shot films: the base model's objective.

  L = E || v_theta(x_t^(i); x_0^(<i), c_pi(i), t_i) - (e - x_0^(i)) ||^2   (1)

over the chunks i of a film with captions c_pi(i) and noise e. Each chunk has a
time of its own (Causal Forcing) or all share one (CausalCine), according to
`diffusion.time_per`. One pass computes the segments of eq. (4) of CausalCine:
clean 1..N at t = 0, and `diffusion.copies` times noisy 1..N. The loss is taken
on the noisy segments alone. That of several copies is the mean of the losses
that each would have alone; they share the pass over the clean copy.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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
  """Makes loss_fn(params, batch, key) -> (loss, metrics).

  The batch holds latents [B, N F, Y, X, C], text [B, N, W, D], mask [B, N] (0
  where a chunk is padding) and shots int32 [B, N].

  Args:
    film_fn: the network (denoiser.make_film_fn).
    diffusion: times, noisy copies and the noise of the history.
    frames: F.
    negative_text_WD: the encoded negative prompt.
    drop_text: the share of films that read the negative prompt throughout,
      which guidance needs.
  """

  pass_fn = make_pass(
    film_fn,
    diffusion,
    frames=frames,
    negative_text_WD=negative_text_WD,
    drop_text=drop_text,
  )

  def loss_fn(params, batch, key):
    loss, _ = pass_fn(params, batch, key)
    return loss, {'loss': loss}

  return loss_fn


def make_pass(
  film_fn: Callable[..., tuple[jax.Array, Any]],
  diffusion: DiffusionConfig,
  *,
  frames: int,
  negative_text_WD: jax.Array,
  drop_text: float,
) -> Callable[[Any, Batch, jax.Array], tuple[jax.Array, tuple[Any, Films]]]:
  """Makes pass_fn(params, batch, key) -> (loss, (rest, films)).

  `rest` is what film_fn returns beside the velocity, and `films` are those that
  it has read. The arguments are those of make_teacher_forcing_loss.
  """

  def pass_fn(params, batch, key):
    for_drop, for_loss = jax.random.split(key)
    films = guidance.films(batch, frames)
    films = films.replace(
      text_BNWD=drop_prompts(
        for_drop, films.text_BNWD, negative_text_WD, drop_text
      )
    )
    loss, rest = _loss_and_rest(film_fn, params, films, diffusion, for_loss)
    return loss, (rest, films)

  return pass_fn


def drop_prompts(
  key: jax.Array,
  text_BNWD: jax.Array,
  negative_text_WD: jax.Array,
  drop_text: float,
) -> jax.Array:
  """The prompts, of which a share of films reads the negative one instead."""
  drop_B = jax.random.bernoulli(key, drop_text, text_BNWD.shape[:1])
  return jnp.where(
    drop_B[:, None, None, None], negative_text_WD[None, None], text_BNWD
  )


class NoisedFilms(NamedTuple):
  """What a base is given of films in training, and what it should return."""

  films: Films  # with the history that it reads
  x_t: jax.Array  # the noisy copies
  t: jax.Array  # [B, S, F]
  velocity: jax.Array  # e - x_0
  for_routing: jax.Array  # draws the frames of policy `random`


def noised_films(
  films: Films, diffusion: DiffusionConfig, key: jax.Array
) -> NoisedFilms:
  """Draws times and noise for all copies of the films."""
  for_noise, for_times, for_routing = jax.random.split(key, 3)
  copies = diffusion.copies
  clean = jnp.tile(films.clean_BNFYXC, (1, copies, 1, 1, 1, 1))
  noise = jax.random.normal(for_noise, clean.shape, jnp.float32)
  batch, chunks, frames = films.shape_BNF
  t = timesteps.film_times(
    for_times, (batch * copies, chunks, frames), diffusion
  ).reshape(batch, copies * chunks, frames)
  given = films.replace(
    clean_BNFYXC=_corrupted(
      jax.random.fold_in(key, 0), films.clean_BNFYXC, diffusion.history_noise
    )
  )
  return NoisedFilms(
    films=given,
    x_t=flow.noised(clean, noise, t),
    t=t,
    velocity=flow.velocity(clean, noise),
    for_routing=for_routing,
  )


def velocity_loss(
  film_fn: FilmFn,
  params: Any,
  films: Films,
  diffusion: DiffusionConfig,
  key: jax.Array,
) -> jax.Array:
  """L of eq. (1), averaged over valid chunks and noisy copies.

  Args:
    film_fn: the network.
    params: its parameters.
    films: the batch.
    diffusion: as in make_teacher_forcing_loss.
    key: draws noise, times and the frames of policy `random`.
  """
  return _loss_and_rest(film_fn, params, films, diffusion, key)[0]


def _loss_and_rest(film_fn, params, films: Films, diffusion, key):
  """`velocity_loss`, and what film_fn returns beside the velocity."""
  noised = noised_films(films, diffusion, key)
  v, rest = guidance.apply(
    film_fn, noised.films, noised.for_routing, params, noised.x_t, noised.t
  )
  return films.mean(jnp.square(v - noised.velocity)), rest


def _corrupted(
  key: jax.Array, x_BNFYXC: jax.Array, max_std: float
) -> jax.Array:
  """The history plus noise; each film draws its deviation from [0, max_std].

  A rollout reads chunks that it has generated, which differ a little from those
  that it was trained on.
  """
  if not max_std:
    return x_BNFYXC
  for_share, for_noise = jax.random.split(key)
  share = jax.random.uniform(for_share, (len(x_BNFYXC), 1, 1, 1, 1, 1))
  return x_BNFYXC + max_std * share * jax.random.normal(
    for_noise, x_BNFYXC.shape
  )
