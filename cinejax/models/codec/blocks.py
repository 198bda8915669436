"""Blocks of r frames and s x s pixels, each coded by one latent."""

import einops
import jax
import jax.numpy as jnp

from cinejax.models.config import CodecConfig


def split(cfg: CodecConfig, video_BTYXC: jax.Array) -> jax.Array:
  """Splits a video into blocks [B, F, Y, X, r s s 3].

  The first frame of the video is repeated r times and forms the first blocks.
  """
  first_BTYXC = jnp.repeat(video_BTYXC[:, :1], cfg.temporal_stride - 1, 1)
  return einops.rearrange(
    jnp.concatenate([first_BTYXC, video_BTYXC], 1),
    'B (F r) (Y y) (X x) C -> B F Y X (r y x C)',
    r=cfg.temporal_stride,
    y=cfg.spatial_stride,
    x=cfg.spatial_stride,
  )


def merge(cfg: CodecConfig, blocks_BFYXG: jax.Array, first: bool) -> jax.Array:
  """The inverse of `split`.

  With `first`, blocks begin a film, and of the first r frames only the last is
  returned.
  """
  video_BTYXC = einops.rearrange(
    blocks_BFYXG,
    'B F Y X (r y x C) -> B (F r) (Y y) (X x) C',
    r=cfg.temporal_stride,
    y=cfg.spatial_stride,
    x=cfg.spatial_stride,
  )
  return video_BTYXC[:, cfg.temporal_stride - 1 :] if first else video_BTYXC


def size(cfg: CodecConfig) -> int:
  """G, the number of values in a block."""
  return 3 * cfg.temporal_stride * cfg.spatial_stride**2
