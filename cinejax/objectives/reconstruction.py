"""Training a codec: pixels come back from latents that a sampler can hit.

    z      = encode(video),   video' = decode(z + sigma n),  n ~ N(0, 1)    (1)
    loss   = mean sqrt((video' - video)^2 + delta^2) + w KL                 (2)
    KL     = mean_C (m_C^2 + s_C^2 - 1 - ln s_C^2) / 2                      (3)

with m_C, s_C the mean and deviation of channel C over the batch. (1) makes the
decoder forgive what a diffusion model gets wrong and keeps neighbouring
latents alike; without (3) the encoder would outgrow that noise. Matching each
channel to N(0, 1), rather than each latent as a variational autoencoder does,
lets no channel collapse. (2) is Charbonnier's loss: quadratic for errors below
delta, so that PSNR keeps rising, linear above, so that edges stay sharp.
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
# enough to hold s_C near 1, too little to be seen in the pixels
KL_WEIGHT = 0.01


def make_reconstruction_loss(codec: Codec):
  """Returns (params, batch, key) -> (loss, metrics), eq. (2).

  batch['video'] is uint8 [B, T, Y, X, 3]. Metrics: `psnr` in dB, of noisy
  latents and unclipped pixels, averaged over videos; `kl`; `latent_std`.
  """

  def loss_fn(
    params: Params, batch: Mapping[str, jax.Array], key: jax.Array
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    video_BTYXC = from_bytes(batch['video'])
    z_BFYXC = codec.encode(params, video_BTYXC)
    noise_BFYXC = NOISE_STD * jax.random.normal(key, z_BFYXC.shape)
    decoded_BTYXC = codec.decode(params, z_BFYXC + noise_BFYXC)
    square_BTYXC = jnp.square(decoded_BTYXC - video_BTYXC)
    pixel = jnp.mean(jnp.sqrt(square_BTYXC + CHARBONNIER_DELTA**2))
    kl = _kl(z_BFYXC)
    loss = pixel + KL_WEIGHT * kl
    return loss, {
      'psnr': jnp.mean(psnr(decoded_BTYXC, video_BTYXC)),
      'kl': kl,
      'latent_std': jnp.std(z_BFYXC),
    }

  return loss_fn


def psnr(decoded_BTYXC: jax.Array, video_BTYXC: jax.Array) -> jax.Array:
  """dB [B] of videos in [-1, 1], the error taken over a whole video."""
  chex.assert_equal_shape((decoded_BTYXC, video_BTYXC))
  error_B = jnp.mean(jnp.square(decoded_BTYXC - video_BTYXC), (1, 2, 3, 4))
  return 10.0 * jnp.log10(4.0 / error_B)


def _kl(z_BFYXC: jax.Array) -> jax.Array:
  """Eq. (3)."""
  mean_C = jnp.mean(z_BFYXC, (0, 1, 2, 3))
  variance_C = jnp.var(z_BFYXC, (0, 1, 2, 3)) + 1e-6
  return jnp.mean(jnp.square(mean_C) + variance_C - 1 - jnp.log(variance_C)) / 2
