"""What every codec does: video to latents and back, whole or in chunks.

Video is float [B, T, Y, X, 3] in [-1, 1]; latents are [B, F, Y/s, X/s, C] with
about zero mean and, over all channels, unit deviation:

    z = (raw - mean_C) / std_C                                              (1)

With temporal stride r the first latent holds the first frame alone and each
later one r frames, T = 1 + r (F - 1). Invariants, which the tests hold every
codec to: encoding a prefix gives the prefix of the encoding, and decoding in
chunks gives what decoding at once gives.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError

Params = Mapping[str, Any]


class Codec(Protocol):
  """Pure functions of a nested dict of parameters.

  The dict holds `mean_C` and `std_C` of eq. (1); no gradient reaches them.
  """

  temporal_stride: int  # r, pixel frames a latent; the first holds one
  spatial_stride: int  # s, pixels a latent row or column
  channels: int  # C

  def init(self, key: jax.Array) -> Params:
    """Random parameters with zero mean_C and unit std_C."""
    ...

  def encode(self, params: Params, video_BTYXC: jax.Array) -> jax.Array:
    """Normalised latents [B, F, Y/s, X/s, C] of a video in [-1, 1]."""
    ...

  def decode(self, params: Params, z_BFYXC: jax.Array) -> jax.Array:
    """Video [B, T, s Y, s X, 3], not clipped; see `to_bytes`."""
    ...

  def init_decode(
    self, params: Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> Any:
    """The state of a decoder that has seen nothing; its shapes never change."""
    ...

  def decode_chunk(
    self, params: Params, z_BFYXC: jax.Array, state: Any, first: bool
  ) -> tuple[jax.Array, Any]:
    """The video of these latents, after those already seen, and the state.

    `first` is static: a film's first chunk gives 1 + r (F - 1) frames, every
    later one r F.
    """
    ...


def decode_as_chunk(
  codec: Codec, params: Params, z_BFYXC: jax.Array
) -> jax.Array:
  """`decode` of a codec that streams: all latents as the first chunk."""
  batch, _, rows, columns, channels = z_BFYXC.shape
  state = codec.init_decode(params, (batch, rows, columns, channels))
  return codec.decode_chunk(params, z_BFYXC, state, True)[0]


def from_bytes(video: np.ndarray | jax.Array) -> jax.Array:
  """uint8 pixels -> float32 in [-1, 1]."""
  chex.assert_type(video, jnp.uint8)
  return jnp.asarray(video, jnp.float32) / 127.5 - 1.0


def to_bytes(video: jax.Array) -> jax.Array:
  """Float pixels, clipped to [-1, 1] -> uint8."""
  return jnp.round((jnp.clip(video, -1.0, 1.0) + 1.0) * 127.5).astype(jnp.uint8)


def normalise(params: Params, raw_BFYXC: jax.Array) -> jax.Array:
  """Eq. (1)."""
  mean_BFYXC, std_BFYXC = _statistics(params)
  return (raw_BFYXC - mean_BFYXC) / std_BFYXC


def denormalise(params: Params, z_BFYXC: jax.Array) -> jax.Array:
  """Eq. (1), solved for raw."""
  mean_BFYXC, std_BFYXC = _statistics(params)
  return z_BFYXC * std_BFYXC + mean_BFYXC


def check_video(codec: Codec, video_BTYXC: jax.Array) -> None:
  """Raises UserError unless the codec's strides divide the video."""
  chex.assert_shape(video_BTYXC, (None, None, None, None, 3))
  _, frames, height, width, _ = video_BTYXC.shape
  s, r = codec.spatial_stride, codec.temporal_stride
  if height % s or width % s:
    raise UserError(
      f'the video is {width}x{height}; crop its sides to multiples of {s}'
    )
  if frames < 1 or (frames - 1) % r:
    raise UserError(
      f'the video has {frames} frames; trim it to 1 + a multiple of {r}'
    )


def _statistics(params: Params) -> tuple[jax.Array, jax.Array]:
  # measured, not learnt: an optimizer must leave them alone
  mean_C, std_C = jax.lax.stop_gradient((params['mean_C'], params['std_C']))
  return (
    jnp.asarray(mean_C, jnp.float32)[None, None, None, None],
    jnp.asarray(std_C, jnp.float32)[None, None, None, None],
  )
