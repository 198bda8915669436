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

Batch = dict[str, jax.Array]


def make_teacher_forcing_loss(
  film_fn: Callable[..., jax.Array],
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
    keys = jax.random.split(key, 4)
    latents = batch['latents']
    shape = (latents.shape[0], -1, frames, *latents.shape[2:])
    clean = latents.reshape(shape).astype(jnp.float32)
    noise = jax.random.normal(keys[0], clean.shape, jnp.float32)
    t_BNF = _times(keys[1], clean.shape[:3], diffusion)
    drop_B = jax.random.bernoulli(keys[2], drop_text, shape[:1])
    text = jnp.where(
      drop_B[:, None, None, None], negative_text_WD[None, None], batch['text']
    )
    v = film_fn(
      params,
      clean,
      flow.noised(clean, noise, t_BNF),
      t_BNF,
      text,
      batch['shots'],
      keys[3],
    )
    error = jnp.square(v - flow.velocity(clean, noise))
    error_BN = error.mean(range(2, error.ndim))
    mask_BN = batch['mask']
    loss = (error_BN * mask_BN).sum() / mask_BN.sum()
    return loss, {'loss': loss}

  return loss_fn


def _times(key, shape_BNF, diffusion: DiffusionConfig) -> jax.Array:
  """One t for each chunk, or for each film, held over its frames."""
  batch, chunks, _ = shape_BNF
  drawn = (batch, chunks if diffusion.time_per == 'chunk' else 1, 1)
  t = timesteps.sample_times(key, drawn, diffusion.shift)
  return jnp.broadcast_to(t, shape_BNF)
