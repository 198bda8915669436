"""Training a codec: pixels are reconstructed from noisy latents.

    z      = encode(video),   video' = decode(z + sigma n),  n ~ N(0, 1),
    sigma  = noise u^2,       u ~ U(0, 1) of each video                     (1)
    loss   = mean sqrt((video' - video)^2 + delta^2)                        (2)
           + a mean_c (mean(z_c)^2 + (std(z_c) - 1)^2) + b mean correction^2

The noise of (1) makes the decoder robust to the errors of a diffusion model,
and a trained encoder robust to losing what noise covers; half of the videos
have less than a quarter of the noise. The first line of (2) is Charbonnier's
loss: quadratic for errors below delta, so that PSNR keeps rising, and linear
above. The second line acts on a trained encoder: it keeps the mean of latents
near 0 and their deviation near 1, without which the noise would have no scale,
and the correction as small, and latents as linear in pixels, as the picture
allows.
"""

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp

from cinejax.models.codec.base import Params, from_bytes
from cinejax.models.codec.patch import PatchCodec

# delta, for pixels in [-1, 1]: larger than most errors, so that PSNR decides
CHARBONNIER_DELTA = 0.5
MOMENTS_WEIGHT = 0.1  # a: a deviation wrong by 1 % costs next to nothing
CORRECTION_WEIGHT = 1e-3  # b: only chooses among pictures of equal quality


def make_reconstruction_loss(codec: PatchCodec, noise: float):
  """Returns (params, batch, key) -> (loss, metrics), eq. (2).

  Args:
    codec: the codec to train.
    noise: of eq. (1), the largest standard deviation.

  batch['video'] is uint8 [B, T, Y, X, 3]. Metrics: `psnr` in dB, of noisy
  latents and unclipped pixels, averaged over videos; `latent_std`.
  """

  def loss_fn(
    params: Params, batch: Mapping[str, jax.Array], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    video_BTYXC = from_bytes(batch['video'])
    z_BFYXC, correction_BFYXC = codec.encode_with_correction(
      params, video_BTYXC
    )
    noise_key, sigma_key = jax.random.split(key)
    sigma_BFYXC = noise * jnp.square(
      jax.random.uniform(sigma_key, (len(z_BFYXC), 1, 1, 1, 1))
    )
    noise_BFYXC = sigma_BFYXC * jax.random.normal(noise_key, z_BFYXC.shape)
    decoded_BTYXC = codec.decode(params, z_BFYXC + noise_BFYXC)
    square_BTYXC = jnp.square(decoded_BTYXC - video_BTYXC)
    moments_C = jnp.square(z_BFYXC.mean((0, 1, 2, 3))) + jnp.square(
      z_BFYXC.std((0, 1, 2, 3)) - 1.0
    )
    loss = (
      jnp.mean(jnp.sqrt(square_BTYXC + CHARBONNIER_DELTA**2))
      + MOMENTS_WEIGHT * jnp.mean(moments_C)
      + CORRECTION_WEIGHT * jnp.mean(jnp.square(correction_BFYXC))
    )
    return loss, {
      'psnr': jnp.mean(psnr(decoded_BTYXC, video_BTYXC)),
      'latent_std': jnp.std(z_BFYXC),
    }

  return loss_fn


def psnr(decoded_BTYXC: jax.Array, video_BTYXC: jax.Array) -> jax.Array:
  """dB [B] of videos in [-1, 1], the error taken over a whole video."""
  chex.assert_equal_shape((decoded_BTYXC, video_BTYXC))
  error_B = jnp.mean(jnp.square(decoded_BTYXC - video_BTYXC), (1, 2, 3, 4))
  return 10.0 * jnp.log10(4.0 / error_B)
