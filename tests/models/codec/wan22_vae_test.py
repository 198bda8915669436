"""The autoencoder of Wan 2.2 5B against PyTorch's, in chunks and tiles."""

import ast
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core import tree
from cinejax.interop import codecs
from cinejax.models.codec.wan_shortcuts import average, duplicate
from cinejax.models.codec.wan_vae import WanVae
from cinejax.models.config import CodecConfig
from tests.models.codec.wan_parity import TOLERANCE, Parity

CFG = CodecConfig('wan22_vae', 4, 16, 4, 5, 1, 0, 2, 'float32')
CODEC = WanVae(CFG)
ENCODE, DECODE = jax.jit(CODEC.encode), jax.jit(CODEC.decode)


@pytest.fixture(scope='module')
def parity(fixtures):
  path = fixtures / 'fixture_wan22_vae.safetensors'
  return Parity(CODEC, ENCODE, DECODE, path)


@pytest.fixture(scope='module')
def seen(parity):
  return parity.seen


@pytest.fixture(scope='module')
def params(parity):
  return parity.params


@pytest.mark.parametrize('half', ['encoder', 'decoder'])
def test_it_is_pytorch_s_and_a_weight_may_not_be_another(parity, half):
  assert parity.error(half) < TOLERANCE
  parity.check_weights(half, step=13)


@pytest.mark.slow
@pytest.mark.parametrize('half', ['encoder', 'decoder'])
def test_no_weight_may_be_another(parity, half):
  parity.check_weights(half, step=1)


def test_decoding_in_chunks_is_decoding_at_once(params, seen):
  z_BFYXC = seen['latents']
  state = CODEC.init_decode(params, (1, 2, 3, 4))
  shapes = jax.tree.map(jnp.shape, state)
  chunk = jax.jit(CODEC.decode_chunk, static_argnames='first')
  first_BTYXC, state = chunk(params, z_BFYXC[:, :2], state, first=True)
  assert jax.tree.map(jnp.shape, state) == shapes
  later_BTYXC, _ = chunk(params, z_BFYXC[:, 2:], state, first=False)
  assert (first_BTYXC.shape[1], later_BTYXC.shape[1]) == (5, 4)
  np.testing.assert_allclose(
    np.concatenate([first_BTYXC, later_BTYXC], 1),
    DECODE(params, z_BFYXC),
    atol=1e-5,
  )


def test_shortcuts_on_a_first_frame():
  """Zeros stand for what is missing, and repeated frames are not shown."""
  x_BTYXD = jnp.arange(8.0).reshape(1, 1, 2, 2, 2)
  down = average(4, 2, 2, x_BTYXD)
  # of 16 numbers, four for each output; the first two of eight are zeros
  np.testing.assert_allclose(down.ravel(), [0, 3, 0, 4])
  up = duplicate(1, 2, 2, x_BTYXD, True)
  assert up.shape == (1, 1, 4, 4, 1)
  np.testing.assert_allclose(up[0, 0, :2, :2, 0], 1)  # the last frame's feature
  both = duplicate(1, 2, 2, x_BTYXD, False)
  np.testing.assert_allclose(both[0, :, 0, 0, 0], [0, 1])


def test_the_published_size_has_the_published_names(fixtures):
  """All names of diffusers, and some of the original."""
  codec = WanVae(dataclasses.replace(CFG, channels=48, width=160, blocks=2))
  shapes = tree.paths(jax.eval_shape(codec.init, jax.random.key(0)))
  shapes = {path: x.shape for path, x in shapes.items() if '/' in path}
  lines = (fixtures / 'wan22_vae_full_keys.txt').read_text().splitlines()
  listed = [line.split('\t') for line in lines if not line.startswith('#')]
  assert {
    codecs.wan_name(path, 2, diffusers=True): codecs.wan_shape(path, shape)
    for path, shape in shapes.items()
  } == {name: ast.literal_eval(shape) for name, shape, *_ in listed}
  assert sum(np.prod(shape) for shape in shapes.values()) == 704_688_668
  names = {
    codecs.wan_name(path, 2, diffusers=False): codecs.wan_shape(path, shape)
    for path, shape in shapes.items()
  }
  assert names['conv1.weight'] == (96, 96, 1, 1, 1)
  prefix = 'encoder.downsamples'
  assert names[f'{prefix}.1.downsamples.0.shortcut.bias'] == (320,)
  assert names[f'{prefix}.0.downsamples.2.resample.1.bias'] == (160,)
  prefix = 'decoder.upsamples'
  assert names[f'{prefix}.1.upsamples.3.time_conv.bias'] == (2048,)
  assert names[f'{prefix}.3.upsamples.2.residual.6.bias'] == (256,)


def test_it_traces_at_full_size():
  codec = WanVae(
    dataclasses.replace(
      CFG, channels=48, width=160, blocks=2, compute_dtype='bfloat16'
    )
  )
  params = jax.eval_shape(codec.init, jax.random.key(0))
  z_BFYXC = jax.ShapeDtypeStruct((1, 3, 44, 80, 48), jnp.float32)
  state = jax.eval_shape(lambda: codec.init_decode({}, (1, 44, 80, 48)))
  for first, frames in ((True, 9), (False, 12)):
    chunk = functools.partial(codec.decode_chunk, first=first)
    video, after = jax.eval_shape(chunk, params, z_BFYXC, state)
    assert video.shape == (1, frames, 704, 1280, 3)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  video = jax.ShapeDtypeStruct((1, 9, 704, 1280, 3), jnp.float32)
  assert jax.eval_shape(codec.encode, params, video).shape == z_BFYXC.shape


@pytest.mark.slow
def test_a_tile_is_coded_as_if_it_were_alone(params):
  codec = WanVae(dataclasses.replace(CFG, tile=4))
  z_BFYXC = 0.5 * jax.random.normal(jax.random.key(0), (1, 2, 4, 7, 4))
  tiled_BTYXC = jax.jit(codec.decode)(params, z_BFYXC)
  assert tiled_BTYXC.shape == (1, 5, 64, 112, 3)
  alone_BTYXC = DECODE(params, z_BFYXC[:, :, :, :4])
  np.testing.assert_allclose(
    tiled_BTYXC[..., :16, :], alone_BTYXC[..., :16, :], atol=1e-5
  )
  again_BFYXC = jax.jit(codec.encode)(params, tiled_BTYXC)
  assert again_BFYXC.shape == z_BFYXC.shape
  alone_BFYXC = ENCODE(params, tiled_BTYXC[..., :64, :])
  np.testing.assert_allclose(
    again_BFYXC[..., :1, :], alone_BFYXC[..., :1, :], atol=1e-5
  )
