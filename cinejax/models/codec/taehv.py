"""TAEHV: a tiny decoder of Wan 2.1's latents, fast enough for live previews.

It is from Ollin Boer Bohan's taehv (github.com/madebyollin/taehv, MIT; weights
taew2_1) and has a few million parameters. It maps 16 normalised channels to RGB
in [0, 1], 4 frames for each latent frame. A block also reads its input of one
frame before,

    block(x_t) = relu(conv(relu(conv(relu(conv([x_t | x_t-1]))))) + x_t),
    x_-1 = 0                                                                (1)
    grow(x): one frame to r frames, by a 1x1 convolution                    (2)

so that the state of a decoder is x_t-1 of each block. Of the four frames of a
film's first latent frame only the last is returned, because Wan's own decoder
returns one. TAEHV's encoder is not used, because it looks three frames further
ahead than Wan's.

Layers have the numbers of the original `nn.Sequential`, so that names map
one to one: `decoder.3.conv.0.weight` is `['decoder']['3']['conv.0']['kernel']`.
"""

import dataclasses
from typing import Any, NoReturn

import einops
import jax
import jax.numpy as jnp
from flax import linen as nn

from cinejax.core.errors import UserError
from cinejax.core.sharding import BATCH_AXES, ROW_AXES, constrain
from cinejax.models.codec import base
from cinejax.models.config import CodecConfig

_WIDTHS = (256, 128, 64)  # features of each level, from small pictures on
_GROW = (1, 2, 2)  # r of eq. (2) at the end of each level
_BLOCKS = 3  # in each level

State = tuple[jax.Array, ...]  # [B, Y, X, D] of each block


class Block(nn.Module):
  """Eq. (1)."""

  width: int
  dtype: str

  @nn.compact
  def __call__(
    self, x_BTYXD: jax.Array, past_BYXD: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    before = jnp.concatenate([past_BYXD[:, None], x_BTYXD[:, :-1]], 1)
    h = jnp.concatenate([x_BTYXD, before], -1)
    for name in ('conv.0', 'conv.2'):
      h = nn.relu(_conv(self.width, name, self.dtype, h))
    h = _conv(self.width, 'conv.4', self.dtype, h)
    return nn.relu(h + x_BTYXD), x_BTYXD[:, -1]


class Grow(nn.Module):
  """Eq. (2)."""

  frames: int  # r
  dtype: str

  @nn.compact
  def __call__(self, x_BTYXD: jax.Array) -> jax.Array:
    width = self.frames * x_BTYXD.shape[-1]
    h = _conv(width, 'conv', self.dtype, x_BTYXD, window=1, bias=False)
    return einops.rearrange(h, 'B T Y X (r D) -> B (T r) Y X D', r=self.frames)


class Decoder(nn.Module):
  """Latents and state -> frames in [0, 1] and state."""

  dtype: str

  @nn.compact
  def __call__(
    self, z_BFYXC: jax.Array, state: State
  ) -> tuple[jax.Array, State]:
    pasts, new_state = iter(state), []
    x = jnp.tanh(z_BFYXC.astype(self.dtype) / 3) * 3
    x = nn.relu(_conv(_WIDTHS[0], '1', self.dtype, x))
    layer = 3  # 0 and 2 have no parameters
    for width, grow, after in zip(
      _WIDTHS, _GROW, (*_WIDTHS[1:], _WIDTHS[-1]), strict=True
    ):
      for _ in range(_BLOCKS):
        block = Block(width, self.dtype, name=str(layer))
        x, past = block(constrain(x, BATCH_AXES, None, ROW_AXES), next(pasts))
        new_state.append(past)
        layer += 1
      x = jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)
      x = Grow(grow, self.dtype, name=str(layer + 1))(x)
      x = _conv(after, str(layer + 2), self.dtype, x, bias=False)
      layer += 3
    x = _conv(3, str(layer + 1), self.dtype, nn.relu(x))
    return x.astype(jnp.float32), tuple(new_state)


def _conv(
  width: int,
  name: str,
  dtype: str,
  x_BTYXD: jax.Array,
  window: int = 3,
  bias: bool = True,
) -> jax.Array:
  """A convolution of each frame by itself."""
  conv = nn.Conv(width, (window, window), use_bias=bias, dtype=dtype, name=name)
  x_NYXD = conv(x_BTYXD.reshape(-1, *x_BTYXD.shape[2:]))
  return x_NYXD.reshape(*x_BTYXD.shape[:2], *x_NYXD.shape[1:])


@dataclasses.dataclass(frozen=True)
class Taehv:
  """The codec of this module, which only decodes; see `base.Codec`."""

  cfg: CodecConfig
  temporal_stride: int = dataclasses.field(default=4, init=False)
  spatial_stride: int = dataclasses.field(default=8, init=False)
  channels: int = dataclasses.field(default=16, init=False)

  def init(self, key: jax.Array) -> dict[str, Any]:
    state = self.init_decode({}, (1, 1, 1, self.channels))
    z_BFYXC = jnp.zeros((1, 1, 1, 1, self.channels))
    return {
      'decoder': self._decoder.init(key, z_BFYXC, state)['params'],
      'mean_C': jnp.zeros(self.channels),
      'std_C': jnp.ones(self.channels),
    }

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> NoReturn:
    """Raises UserError: there is no encoder that is consistent with Wan's."""
    raise UserError(
      'config.codec.name is taehv, which only decodes; encode with wan_vae, '
      'which has the same latents'
    )

  def decode(self, params: base.Params, z_BFYXC: jax.Array) -> jax.Array:
    return base.decode_as_chunk(self, params, z_BFYXC)

  def init_decode(
    self, params: base.Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> State:
    del params
    batch, rows, columns, _ = z_shape_BYXC
    return tuple(
      jnp.zeros(
        (batch, rows << level, columns << level, width), self.cfg.compute_dtype
      )
      for level, width in enumerate(_WIDTHS)
      for _ in range(_BLOCKS)
    )

  def decode_chunk(
    self, params: base.Params, z_BFYXC: jax.Array, state: State, first: bool
  ) -> tuple[jax.Array, State]:
    raw_BFYXC = base.denormalise(params, z_BFYXC)
    video_BTYXC, state = self._decoder.apply(
      {'params': params['decoder']}, raw_BFYXC, state
    )
    if first:
      video_BTYXC = video_BTYXC[:, self.temporal_stride - 1 :]
    return video_BTYXC * 2.0 - 1.0, state

  @property
  def _decoder(self) -> Decoder:
    return Decoder(self.cfg.compute_dtype)
