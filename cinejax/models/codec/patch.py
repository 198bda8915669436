"""A small causal video autoencoder that trains on a CPU in minutes.

Frames are cut into patches of 8x8 pixels, and everything else happens at
latent resolution. Every frame's patch goes through one shared layer; a first
frame alone, later frames four at a time, become one latent frame (eq. 1), and
a decoder ends with the mirror of it. Between them stand residual blocks, cheap
ones: a bottleneck of width / 2 whose first quarter, k channels, is read one
latent frame late (eq. 2; the shift of Lin et al., TSM, arXiv 1811.08383, made
causal), then a 3x3 convolution (eq. 3).

    x_f     = first(p_0) if f = 0 else later(p_(4f-3) .. p_(4f)),
              p_t = silu(patch(frame_t))                                    (1)
    h_f     = down(norm(x_f)),   h_f <- [h_(f-1)[:k], h_f[k:]],   h_(-1) = 0
                                                                            (2)
    x_f    += up(silu(conv(silu(h_f))))                                     (3)

A decoder's state is h_(f-1)[:k] of each block: what eq. (2) needs of the past,
so decoding in chunks is decoding at once.
"""

import dataclasses
from typing import Any

import einops
import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cinejax.models.codec import base
from cinejax.models.config import CodecConfig

# videos encoded at a time while latents are measured; bounds memory
_CALIBRATION_BATCH = 16


class Block(nn.Module):
  """Eqs. (2) and (3)."""

  width: int

  @nn.compact
  def __call__(
    self, x_BFYXD: jax.Array, late_BYXK: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    batch, late = x_BFYXD.shape[0], late_BYXK.shape[-1]
    h_BFYXD = nn.Dense(self.width // 2, name='down')(
      nn.RMSNorm(name='norm')(x_BFYXD)
    )
    # K channels from latent frame -1 (the state) to the last
    late_BFYXK = jnp.concatenate(
      [late_BYXK[:, None], h_BFYXD[..., :late]], axis=1
    )
    h_BFYXD = jnp.concatenate(
      [late_BFYXK[:, :-1], h_BFYXD[..., late:]], axis=-1
    )
    # a plain 2-D convolution is the one that every backend does fast
    h_NYXD = einops.rearrange(h_BFYXD, 'B F Y X D -> (B F) Y X D')
    h_NYXD = nn.Conv(self.width // 2, (3, 3), name='conv')(nn.silu(h_NYXD))
    h_NYXD = nn.Dense(self.width, name='up')(nn.silu(h_NYXD))
    h_BFYXD = einops.rearrange(h_NYXD, '(B F) Y X D -> B F Y X D', B=batch)
    return x_BFYXD + h_BFYXD, late_BFYXK[:, -1]


class Encoder(nn.Module):
  """Video [B, T, Y, X, 3] -> raw latents [B, F, Y/s, X/s, C]."""

  cfg: CodecConfig

  @nn.compact
  def __call__(self, video_BTYXC: jax.Array) -> jax.Array:
    cfg = self.cfg
    patch_BTYXG = einops.rearrange(
      video_BTYXC,
      'B T (Y y) (X x) C -> B T Y X (y x C)',
      y=cfg.spatial_stride,
      x=cfg.spatial_stride,
    )
    h_BTYXD = nn.silu(nn.Dense(cfg.width, name='patch')(patch_BTYXG))
    later_BFYXG = einops.rearrange(
      h_BTYXD[:, 1:], 'B (F r) Y X D -> B F Y X (r D)', r=cfg.temporal_stride
    )
    x_BFYXD = jnp.concatenate(
      [
        nn.Dense(cfg.width, name='first')(h_BTYXD[:, :1]),
        nn.Dense(cfg.width, name='later')(later_BFYXG),
      ],
      axis=1,
    )
    for i in range(cfg.blocks):
      nothing_BYXK = jnp.zeros_like(x_BFYXD[:, 0, ..., : _late(cfg)])
      x_BFYXD, _ = Block(cfg.width, name=f'block_{i}')(x_BFYXD, nothing_BYXK)
    return nn.Dense(cfg.channels, name='out')(x_BFYXD)


class Decoder(nn.Module):
  """Raw latents and state -> video [B, T, s Y, s X, 3] and state."""

  cfg: CodecConfig

  @nn.compact
  def __call__(
    self, raw_BFYXC: jax.Array, state: tuple[jax.Array, ...], first: bool
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    cfg = self.cfg
    x_BFYXD = nn.Dense(cfg.width, name='in')(raw_BFYXC)
    new_state = []
    for i, late_BYXK in enumerate(state):
      x_BFYXD, late_BYXK = Block(cfg.width, name=f'block_{i}')(
        x_BFYXD, late_BYXK
      )
      new_state.append(late_BYXK)
    parts = []
    if first:
      parts.append(nn.Dense(cfg.width, name='first')(x_BFYXD[:, :1]))
      x_BFYXD = x_BFYXD[:, 1:]
    later_BFYXG = nn.Dense(cfg.temporal_stride * cfg.width, name='later')(
      x_BFYXD
    )
    parts.append(
      einops.rearrange(
        later_BFYXG, 'B F Y X (r D) -> B (F r) Y X D', r=cfg.temporal_stride
      )
    )
    h_BTYXD = nn.silu(jnp.concatenate(parts, axis=1))
    patch_BTYXG = nn.Dense(3 * cfg.spatial_stride**2, name='patch')(h_BTYXD)
    video_BTYXC = einops.rearrange(
      patch_BTYXG,
      'B T Y X (y x C) -> B T (Y y) (X x) C',
      y=cfg.spatial_stride,
      x=cfg.spatial_stride,
    )
    return video_BTYXC, tuple(new_state)


@dataclasses.dataclass(frozen=True)
class PatchCodec:
  """The codec of this module; see `base.Codec`."""

  cfg: CodecConfig

  @property
  def temporal_stride(self) -> int:
    return self.cfg.temporal_stride

  @property
  def spatial_stride(self) -> int:
    return self.cfg.spatial_stride

  @property
  def channels(self) -> int:
    return self.cfg.channels

  def init(self, key: jax.Array) -> dict[str, Any]:
    cfg = self.cfg
    encoder_key, decoder_key = jax.random.split(key)
    side = cfg.spatial_stride
    video_BTYXC = jnp.zeros((1, 1 + cfg.temporal_stride, side, side, 3))
    raw_BFYXC = jnp.zeros((1, 2, 1, 1, cfg.channels))
    state = self.init_decode({}, (1, 1, 1, cfg.channels))
    return {
      'encoder': Encoder(cfg).init(encoder_key, video_BTYXC)['params'],
      'decoder': Decoder(cfg).init(decoder_key, raw_BFYXC, state, True)[
        'params'
      ],
      'mean_C': jnp.zeros(cfg.channels),
      'std_C': jnp.ones(cfg.channels),
    }

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    base.check_video(self, video_BTYXC)
    raw_BFYXC = Encoder(self.cfg).apply(
      {'params': params['encoder']}, video_BTYXC
    )
    return base.normalise(params, raw_BFYXC)

  def decode(self, params: base.Params, z_BFYXC: jax.Array) -> jax.Array:
    batch, _, rows, columns, channels = z_BFYXC.shape
    state = self.init_decode(params, (batch, rows, columns, channels))
    return self.decode_chunk(params, z_BFYXC, state, True)[0]

  def init_decode(
    self, params: base.Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> tuple[jax.Array, ...]:
    """One float32 [B, Y, X, K] a block of the decoder."""
    del params
    shape_BYXK = (*z_shape_BYXC[:3], _late(self.cfg))
    return tuple(jnp.zeros(shape_BYXK) for _ in range(self.cfg.blocks))

  def decode_chunk(
    self,
    params: base.Params,
    z_BFYXC: jax.Array,
    state: tuple[jax.Array, ...],
    first: bool,
  ) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return Decoder(self.cfg).apply(
      {'params': params['decoder']},
      base.denormalise(params, z_BFYXC),
      state,
      first,
    )

  def calibrate(
    self, params: base.Params, videos_NTYXC: np.ndarray
  ) -> dict[str, Any]:
    """Params with mean_C and std_C measured on uint8 [n, T, Y, X, 3]."""
    params = {
      **params,
      'mean_C': jnp.zeros(self.channels),
      'std_C': jnp.ones(self.channels),
    }
    encode = jax.jit(self.encode)
    count, total_C, square_C = 0, 0.0, 0.0
    for start in range(0, len(videos_NTYXC), _CALIBRATION_BATCH):
      videos_BTYXC = videos_NTYXC[start : start + _CALIBRATION_BATCH]
      raw_BFYXC = np.asarray(
        encode(params, base.from_bytes(videos_BTYXC)), np.float64
      )
      count += raw_BFYXC[..., 0].size
      total_C += raw_BFYXC.sum((0, 1, 2, 3))
      square_C += (raw_BFYXC**2).sum((0, 1, 2, 3))
    mean_C = total_C / count
    std_C = np.sqrt(square_C / count - mean_C**2)
    return {
      **params,
      'mean_C': jnp.asarray(mean_C, jnp.float32),
      'std_C': jnp.asarray(std_C, jnp.float32),
    }


def _late(cfg: CodecConfig) -> int:
  """K, the channels of a block that eq. (2) reads one latent frame late."""
  return cfg.width // 8
