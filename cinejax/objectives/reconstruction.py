"""Training a codec: pixels come back from latents that a sampler can hit.

    z      = encode(video),   video' = decode(z + sigma n),  n ~ N(0, 1)    (1)
    loss   = mean sqrt((video' - video)^2 + delta^2)                        (2)

(1) makes the decoder forgive what a diffusion model gets wrong. (2) is
Charbonnier's loss: quadratic for errors below delta, so that PSNR keeps
rising, linear above, so that edges stay sharp.
"""

from collections.abc import Mapping

import chex
import jax
import jax.numpy as jnp

from cinejax.models.codec.base import Codec, Params, from_bytes

# of unit-deviation latents: above a good sampler's error, below what costs PSNR
NOISE_STD = 0.1
# delta, of pixels in [-1, 1]: large, so that PSNR rules until edges are right
CHARBONNIER_DELTA = 0.2


def make_reconstruction_loss(codec: Codec):
  """Returns (params, batch, key) -> (loss, metrics), eq. (2).

  batch['video'] is uint8 [B, T, Y, X, 3]. Metrics: `psnr` in dB, of noisy
  latents and unclipped pixels, averaged over videos; `latent_std`.
  """

  def loss_fn(
    params: Params, batch: Mapping[str, jax.Array], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    video_BTYXC = from_bytes(batch['video'])
    z_BFYXC = codec.encode(params, video_BTYXC)
    noise_BFYXC = NOISE_STD * jax.random.normal(key, z_BFYXC.shape)
    decoded_BTYXC = codec.decode(params, z_BFYXC + noise_BFYXC)
    square_BTYXC = jnp.square(decoded_BTYXC - video_BTYXC)
    loss = jnp.mean(jnp.sqrt(square_BTYXC + CHARBONNIER_DELTA**2))
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
