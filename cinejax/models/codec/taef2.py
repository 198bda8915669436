"""TAEF2: a tiny image autoencoder for the latent space of FLUX.2, per frame.

It is from Ollin Boer Bohan's taesd (github.com/madebyollin/taesd, MIT) and has
1.34M parameters in each half. It maps RGB in [0, 1] to 32 channels at an eighth
of the size. Each frame is coded by itself (temporal stride 1), so that the
decoder has no state. Frames are mapped one at a time, so that memory is that of
one frame.

    block(x) = relu(conv(relu(conv(relu(conv(x))))) + x)                    (1)
    block(x) <- block(x + up(relu(groupnorm(down(x)))))   in pooled layers  (2)

Layers have the numbers of the original `nn.Sequential`s, so that names map one
to one: `11.conv.2.weight` is `['11']['conv.2']['kernel']`.
"""

import dataclasses
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cinejax.core.errors import UserError
from cinejax.models.codec import base

_CHANNELS = 32
_WIDTH = 64
_POOL_WIDTH = 256
# standard deviation of the latents of films, over all channels; their mean is
# close to zero
_LATENT_STD = 0.8
# layers by number, in each half as in the original; layers 0 (the clamp) and 2
# (a relu) of the decoder have no parameters
_ENCODER = (
  *('conv', 'block', 'half', 'block', 'block', 'block', 'half'),
  *('block', 'block', 'block', 'half', 'pooled', 'pooled', 'pooled', 'conv'),
)
_DECODER = (
  *('clamp', 'conv', 'relu', 'pooled', 'pooled', 'pooled', 'double', 'bare'),
  *('block', 'block', 'block', 'double', 'bare', 'block', 'block', 'block'),
  *('double', 'bare', 'block', 'conv'),
)


class Block(nn.Module):
  """Eq. (1), and eq. (2) where `pooled`."""

  pooled: bool

  @nn.compact
  def __call__(self, x_BYXD: jax.Array) -> jax.Array:
    if self.pooled:
      h_BYXG = nn.Conv(_POOL_WIDTH, (1, 1), use_bias=False, name='pool.0')(
        x_BYXD
      )
      h_BYXG = nn.GroupNorm(4, epsilon=1e-5, name='pool.1')(h_BYXG)
      x_BYXD = x_BYXD + nn.Conv(_WIDTH, (1, 1), use_bias=False, name='pool.3')(
        nn.relu(h_BYXG)
      )
    h_BYXD = nn.relu(nn.Conv(_WIDTH, (3, 3), name='conv.0')(x_BYXD))
    h_BYXD = nn.relu(nn.Conv(_WIDTH, (3, 3), name='conv.2')(h_BYXD))
    h_BYXD = nn.Conv(_WIDTH, (3, 3), name='conv.4')(h_BYXD)
    return nn.relu(h_BYXD + x_BYXD)


class Stack(nn.Module):
  """One half: its layers, the last of which has `channels` features."""

  layers: tuple[str, ...]
  channels: int

  @nn.compact
  def __call__(self, x_BYXC: jax.Array) -> jax.Array:
    last = len(self.layers) - 1
    for i, kind in enumerate(self.layers):
      width = self.channels if i == last else _WIDTH
      x_BYXC = _layer(kind, str(i), width, x_BYXC)
    return x_BYXC


def _layer(kind: str, name: str, width: int, x_BYXC: jax.Array) -> jax.Array:
  match kind:
    case 'conv':
      return nn.Conv(width, (3, 3), name=name)(x_BYXC)
    case 'bare':
      return nn.Conv(width, (3, 3), use_bias=False, name=name)(x_BYXC)
    case 'half':  # with PyTorch's padding, which is not that of 'SAME'
      return nn.Conv(
        width, (3, 3), (2, 2), padding=1, use_bias=False, name=name
      )(x_BYXC)
    case 'double':
      return jnp.repeat(jnp.repeat(x_BYXC, 2, axis=1), 2, axis=2)
    case 'clamp':
      return jnp.tanh(x_BYXC / 3.0) * 3.0
    case 'relu':
      return nn.relu(x_BYXC)
  return Block(kind == 'pooled', name=name)(x_BYXC)


@dataclasses.dataclass(frozen=True)
class Taef2:
  """The codec of this module; see `base.Codec`."""

  temporal_stride: int = dataclasses.field(default=1, init=False)
  spatial_stride: int = dataclasses.field(default=8, init=False)
  channels: int = dataclasses.field(default=_CHANNELS, init=False)

  def init(self, key: jax.Array) -> dict[str, Any]:
    encoder_key, decoder_key = jax.random.split(key)
    return _with_statistics(
      {
        'encoder': Stack(_ENCODER, _CHANNELS).init(
          encoder_key, jnp.zeros((1, 8, 8, 3))
        )['params'],
        'decoder': Stack(_DECODER, 3).init(
          decoder_key, jnp.zeros((1, 1, 1, _CHANNELS))
        )['params'],
      }
    )

  def encode(self, params: base.Params, video_BTYXC: jax.Array) -> jax.Array:
    base.check_video(self, video_BTYXC)
    raw_BFYXC = _by_frame(
      Stack(_ENCODER, _CHANNELS), params['encoder'], (video_BTYXC + 1.0) / 2.0
    )
    return base.normalise(params, raw_BFYXC)

  def decode(self, params: base.Params, z_BFYXC: jax.Array) -> jax.Array:
    raw_BFYXC = base.denormalise(params, z_BFYXC)
    video_BTYXC = _by_frame(Stack(_DECODER, 3), params['decoder'], raw_BFYXC)
    return video_BTYXC * 2.0 - 1.0

  def init_decode(
    self, params: base.Params, z_shape_BYXC: tuple[int, int, int, int]
  ) -> tuple[()]:
    del params, z_shape_BYXC
    return ()

  def decode_chunk(
    self, params: base.Params, z_BFYXC: jax.Array, state: tuple[()], first: bool
  ) -> tuple[jax.Array, tuple[()]]:
    del first
    return self.decode(params, z_BFYXC), state


def files(folder: str | os.PathLike) -> dict[str, pathlib.Path]:
  """The file of each half, by its name."""
  return {
    half: pathlib.Path(folder) / f'taef2_{half}.safetensors'
    for half in ('encoder', 'decoder')
  }


def load_taef2(folder: str | os.PathLike) -> dict[str, Any]:
  """Float32 parameters from taef2_encoder.safetensors and taef2_decoder's.

  Raises UserError if one of them cannot be read.
  """
  params = {}
  for half, path in files(folder).items():
    try:
      flat = load_file(path)
    except (SafetensorError, OSError) as error:
      raise UserError(
        f'{path} cannot be read ({error}); put the two TAEF2 files there'
      ) from error
    params[half] = _renamed(flat)
  return _with_statistics(params)


def _renamed(flat: dict[str, np.ndarray]) -> dict[str, Any]:
  """Converts the names and axes of PyTorch to Linen's."""
  tree: dict[str, Any] = {}
  for name, array in flat.items():
    *modules, leaf = name.split('.')
    if array.ndim == 4:  # [out, in, y, x] -> [y, x, in, out]
      leaf, array = 'kernel', array.transpose(2, 3, 1, 0)
    elif leaf == 'weight':
      leaf = 'scale'
    node = tree.setdefault(modules[0], {})
    if modules[1:]:
      node = node.setdefault('.'.join(modules[1:]), {})
    node[leaf] = jnp.asarray(array, jnp.float32)
  return tree


def _with_statistics(halves: dict[str, Any]) -> dict[str, Any]:
  return {
    **halves,
    'mean_C': jnp.zeros(_CHANNELS),
    'std_C': jnp.full(_CHANNELS, _LATENT_STD),
  }


def _by_frame(
  stack: Stack, params: base.Params, frames_BTYXC: jax.Array
) -> jax.Array:
  """Applies `stack` to [B, T, Y, X, C], one frame of each video at a time."""

  def apply(frames_BYXC: jax.Array) -> jax.Array:
    return stack.apply({'params': params}, frames_BYXC)

  return jnp.swapaxes(
    jax.lax.map(apply, jnp.swapaxes(frames_BTYXC, 0, 1)), 0, 1
  )
