"""The video autoencoders of Wan 2.1 and of Wan 2.2 TI2V-5B as codecs.

Both have a quarter of the frame rate. `wan_vae` is that of Wan 2.1, with 16
channels at an eighth of the size and 127M parameters; `wan22_vae` has 48
channels at a sixteenth of the size and 705M parameters. The networks are in
wan_coder.py. There are two programs, one for a film's first frame and one for
all that follow. The second runs under `lax.scan`, one latent frame at a time,
so that memory does not grow with the film, and decoding in chunks equals
decoding at once.

With `codec.tile`, tiles of that many latent rows and columns are coded one
after the other, each with a cache of its own, and blended (tiling.py). On a
mesh, the rows of pictures are split over the axes `sequence` and `tensor`, if
these divide them.
"""

import dataclasses
from typing import Any

import einops
import jax
import jax.numpy as jnp

from cinejax.models.codec import base
from cinejax.models.codec.tiling import Tiles
from cinejax.models.codec.wan_coder import (
  Coder,
  decoder_layers,
  encoder_layers,
  patch,
)
from cinejax.models.codec.wan_layers import Cache, Layer, empty_cache
from cinejax.models.config import CodecConfig

# by codec: mean and standard deviation of the latents, as published
# (wan/modules/vae.py and vae2_2.py)
STATISTICS = {
  'wan_vae': (
    (
      *(-0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508),
      *(0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921),
    ),
    (
      *(2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743),
      *(3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.916),
    ),
  ),
  'wan22_vae': (
    (
      *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557),
      *(-0.1382, 0.0542, 0.2813, 0.0891, 0.157, -0.0098, 0.0375, -0.1825),
      *(-0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502),
      *(-0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.123),
      *(-0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.052, 0.3748),
      *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
    ),
    (
      *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013),
      *(0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978),
      *(0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659),
      *(0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093),
      *(0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
      *(0.3971, 1.06, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    ),
  ),
}
TEMPORAL_STRIDE = 4
_CODER_STRIDE = 8  # rows and columns that a half sees, for each latent


@dataclasses.dataclass(frozen=True)
class WanVae:
  """The codec of this module; see `base.Codec`."""

  cfg: CodecConfig
  temporal_stride: int = dataclasses.field(default=TEMPORAL_STRIDE, init=False)

  @property
  def spatial_stride(self) -> int:
    return _CODER_STRIDE * patch(self.cfg)

  @property
  def channels(self) -> int:
    return self.cfg.channels

  def init(self, key: jax.Array) -> dict[str, Any]:
    def half(key, layers, shape_BTYXC):
      batch, _, *rest = shape_BTYXC
      cache = empty_cache(layers, (batch, *rest), 'float32')
      x = jnp.zeros(shape_BTYXC)
      return Coder(layers, 'float32').init(key, x, cache, False)['params']

    encoder_key, decoder_key = jax.random.split(key)
    return {
      'encoder': half(
        encoder_key, self._encoder, (1, 4, 8, 8, 3 * patch(self.cfg) ** 2)
      ),
      'decoder': half(decoder_key, self._decoder, (1, 1, 1, 1, self.channels)),
      'mean_C': jnp.zeros(self.channels),
      'std_C': jnp.ones(self.channels),
    }

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    base.check_video(self, video_BTYXC)
    rows, columns = (n // self.spatial_stride for n in video_BTYXC.shape[2:4])
    tiles = self._tiles(rows, columns)
    if tiles is None:
      return self._encode(params, video_BTYXC)
    parts = jax.lax.map(
      lambda part_BTYXC: self._encode(params, part_BTYXC),
      tiles.cut(video_BTYXC, self.spatial_stride),
    )
    return tiles.blend(parts)

  def decode(self, params: base.Params, z_BFYXC: jax.Array) -> jax.Array:
    return base.decode_as_chunk(self, params, z_BFYXC)

  def init_decode(
    self, params: base.Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> Cache:
    """The decoder's cache; with tiles, theirs, stacked along a first axis."""
    del params
    batch, rows, columns, channels = z_shape_BYXC
    tiles = self._tiles(rows, columns)
    if tiles:
      rows, columns = tiles.tile
    shape = (batch, rows, columns, channels)
    cache = empty_cache(self._decoder, shape, self.cfg.compute_dtype)
    if tiles is None:
      return cache
    return jax.tree.map(lambda x: jnp.stack([x] * len(tiles)), cache)

  def decode_chunk(
    self, params: base.Params, z_BFYXC: jax.Array, state: Cache, first: bool
  ) -> tuple[jax.Array, Cache]:
    raw_BFYXC = base.denormalise(params, z_BFYXC)
    tiles = self._tiles(*raw_BFYXC.shape[2:4])
    if tiles is None:
      return self._decode(params, raw_BFYXC, state, first)
    parts, state = jax.lax.map(
      lambda part: self._decode(params, *part, first),
      (tiles.cut(raw_BFYXC), state),
    )
    return tiles.blend(parts, self.spatial_stride), state

  @property
  def _encoder(self) -> tuple[Layer, ...]:
    return encoder_layers(self.cfg)

  @property
  def _decoder(self) -> tuple[Layer, ...]:
    return decoder_layers(self.cfg)

  def _tiles(self, rows: int, columns: int) -> Tiles | None:
    """The tiles of a picture of so many latents; None: it fits into one."""
    side = self.cfg.tile or max(rows, columns)
    tile = (min(side, rows), min(side, columns))
    if tile == (rows, columns):
      return None
    return Tiles((rows, columns), tile, self.cfg.tile_overlap)

  def _encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    side = patch(self.cfg)
    video_BTYXC = einops.rearrange(
      video_BTYXC, 'B T (Y y) (X x) C -> B T Y X (C x y)', x=side, y=side
    )
    batch, _, *shape = video_BTYXC.shape
    coder = Coder(self._encoder, self.cfg.compute_dtype)
    variables = {'params': params['encoder']}
    cache = empty_cache(self._encoder, (batch, *shape), coder.dtype)
    first, cache = coder.apply(variables, video_BTYXC[:, :1], cache, True)

    def step(cache, group_BTYXC):
      z_BFYXC, cache = coder.apply(variables, group_BTYXC, cache, False)
      return cache, z_BFYXC

    groups = einops.rearrange(
      video_BTYXC[:, 1:], 'B (F r) Y X C -> F B r Y X C', r=TEMPORAL_STRIDE
    )
    _, later = jax.lax.scan(step, cache, groups)
    later = einops.rearrange(later, 'F B 1 Y X C -> B F Y X C')
    moments_BFYXC = jnp.concatenate([first, later], 1)
    # the other channels are log-variances
    return base.normalise(params, moments_BFYXC[..., : self.channels])

  def _decode(
    self, params: base.Params, raw_BFYXC: jax.Array, cache: Cache, first: bool
  ) -> tuple[jax.Array, Cache]:
    coder = Coder(self._decoder, self.cfg.compute_dtype)
    variables = {'params': params['decoder']}
    videos = []
    if first:
      video, cache = coder.apply(variables, raw_BFYXC[:, :1], cache, True)
      raw_BFYXC, videos = raw_BFYXC[:, 1:], [video]

    def step(cache, raw_BYXC):
      video, cache = coder.apply(variables, raw_BYXC[:, None], cache, False)
      return cache, video

    cache, later = jax.lax.scan(step, cache, jnp.swapaxes(raw_BFYXC, 0, 1))
    videos.append(einops.rearrange(later, 'F B T Y X C -> B (F T) Y X C'))
    side = patch(self.cfg)
    video_BTYXC = einops.rearrange(
      jnp.concatenate(videos, 1),
      'B T Y X (C x y) -> B T (Y y) (X x) C',
      x=side,
      y=side,
    )
    return video_BTYXC, cache
