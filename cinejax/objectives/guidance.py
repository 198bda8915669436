"""The velocity of whole films given their clean history, with guidance.

  v = u + w (c - u)                                                        (1)

where c is the velocity under the film's prompts and u under the negative one
(Ho and Salimans 2022).
"""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp

from cinejax.models.denoiser import FilmFn

Batch = dict[str, jax.Array]
# (params, x_BNFYXC, t_BNF) -> velocity_BNFYXC
VelocityFn = Callable[[Any, jax.Array, jax.Array], jax.Array]


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Films:
  """A batch of films, cut into chunks."""

  clean_BNFYXC: jax.Array  # float32 latents
  text_BNWD: jax.Array  # encoded prompts
  shots_BN: jax.Array  # int32, -1 in padding
  mask_BN: jax.Array  # 1 = valid, 0 = padding
  # Weights of errors, [B, N, F, Y, X, 1]; None: all are 1.
  weight_BNFYXC: jax.Array | None = None

  @property
  def shape_BNF(self) -> tuple[int, int, int]:
    """(B, N, F)."""
    return self.clean_BNFYXC.shape[:3]

  def mean(self, error: jax.Array) -> jax.Array:
    """The mean error over valid chunks, weighted where the films have weights.

    `error` is [B, S, ...], where S may be several copies of the N chunks; only
    one of six dimensions is weighted.
    """
    weight = self.mask_BN.reshape(self.mask_BN.shape + (1,) * (error.ndim - 2))
    if self.weight_BNFYXC is not None and error.ndim == 6:
      weight = weight * self.weight_BNFYXC
    copies = error.shape[1] // weight.shape[1]
    weight = jnp.tile(weight, (1, copies) + (1,) * (error.ndim - 2))
    weight = jnp.broadcast_to(weight, error.shape)
    # A window may hold nothing but padding.
    return (error * weight).sum() / jnp.maximum(weight.sum(), 1)


def films(batch: Batch, frames: int) -> Films:
  """Cuts a batch into chunks.

  Args:
    batch: latents [B, N F, Y, X, C], text [B, N, W, D], mask and shots [B, N];
      optionally weight [B, N F, Y, X, 1].
    frames: F.
  """

  def chunked(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1, frames, *x.shape[2:]).astype(jnp.float32)

  return Films(
    clean_BNFYXC=chunked(batch['latents']),
    text_BNWD=batch['text'],
    shots_BN=batch['shots'],
    mask_BN=batch['mask'],
    weight_BNFYXC=chunked(batch['weight']) if 'weight' in batch else None,
  )


def conditional(film_fn: FilmFn, given: Films, key: jax.Array) -> VelocityFn:
  """Makes the velocity given the clean past and the prompts of `given`.

  `key` draws the frames that policy `random` routes.
  """

  def velocity(params, x_BNFYXC, t_BNF):
    v, _ = apply(film_fn, given, key, params, x_BNFYXC, t_BNF)
    return v

  return velocity


def guided(
  film_fn: FilmFn,
  given: Films,
  key: jax.Array,
  negative_text_WD: jax.Array,
  weight: float,
) -> VelocityFn:
  """Makes the velocity of eq. (1) with w = `weight`.

  It costs one pass if w is 1, else two. The second pass reads the frames that
  the first has routed, as in a rollout.
  """
  if weight == 1:
    return conditional(film_fn, given, key)
  text = jnp.broadcast_to(
    negative_text_WD[None, None], given.text_BNWD.shape
  ).astype(given.text_BNWD.dtype)
  negative = given.replace(text_BNWD=text)

  def velocity(params, x_BNFYXC, t_BNF):
    c, ranks = apply(film_fn, given, key, params, x_BNFYXC, t_BNF)
    u, _ = apply(film_fn, negative, key, params, x_BNFYXC, t_BNF, ranks=ranks)
    return u + weight * (c - u)

  return velocity


def apply(
  film_fn: FilmFn, given: Films, key, params, x_BNFYXC, t_BNF, **routed
):
  """Both results of film_fn with the history, prompts and shots of `given`."""
  return film_fn(
    params,
    given.clean_BNFYXC,
    x_BNFYXC,
    t_BNF,
    given.text_BNWD,
    given.shots_BN,
    key,
    **routed,
  )
