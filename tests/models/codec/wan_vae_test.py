"""Wan's autoencoder against PyTorch's, and in chunks and tiles."""

import ast
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core import tree
from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.interop import codecs
from cinejax.models.codec.wan_vae import WanVae
from cinejax.models.config import CodecConfig
from tests.models.codec.wan_parity import TOLERANCE, Parity

CFG = CodecConfig('wan_vae', 4, 8, 4, 4, 1, 0, 2, 'float32')
CODEC = WanVae(CFG)
ENCODE, DECODE = jax.jit(CODEC.encode), jax.jit(CODEC.decode)
DECODE_CHUNK = jax.jit(CODEC.decode_chunk, static_argnames='first')


@pytest.fixture(scope='module')
def parity(fixtures):
  path = fixtures / 'fixture_wan_vae.safetensors'
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
  parity.check_weights(half, step=9)


@pytest.mark.slow
@pytest.mark.parametrize('half', ['encoder', 'decoder'])
def test_no_weight_may_be_another(parity, half):
  parity.check_weights(half, step=1)


def test_statistics_are_taken_off_and_put_back(params, seen):
  shifted = {**params, 'mean_C': np.full(4, 0.5), 'std_C': np.full(4, 2.0)}
  np.testing.assert_allclose(
    ENCODE(shifted, seen['video']), (seen['mean'] - 0.5) / 2, atol=1e-5
  )
  np.testing.assert_allclose(
    DECODE(shifted, (seen['latents'] - 0.5) / 2),
    DECODE(params, seen['latents']),
    atol=1e-5,
  )


def test_decoding_in_chunks_is_decoding_at_once(params, seen):
  z_BFYXC = seen['latents']
  state = CODEC.init_decode(params, (1, 2, 3, 4))
  shapes = jax.tree.map(jnp.shape, state)
  one_BTYXC, state = DECODE_CHUNK(params, z_BFYXC[:, :1], state, first=True)
  assert jax.tree.map(jnp.shape, state) == shapes

  def step(state, z_BFYXC):  # the steady program scans
    video_BTYXC, state = CODEC.decode_chunk(params, z_BFYXC, state, False)
    return state, video_BTYXC

  later_NBFYXC = jnp.swapaxes(z_BFYXC[:, 1:], 0, 1)[:, :, None]
  _, later_NBTYXC = jax.jit(lambda s, z: jax.lax.scan(step, s, z))(
    state, later_NBFYXC
  )
  assert one_BTYXC.shape[1] == 1 and later_NBTYXC.shape[2] == 4
  np.testing.assert_allclose(
    np.concatenate([one_BTYXC, *later_NBTYXC], 1),
    DECODE(params, z_BFYXC),
    atol=1e-5,
  )


def test_no_latent_knows_what_comes_after_its_frames(params, seen):
  before = ENCODE(params, seen['video'])
  video = np.copy(seen['video'])
  video[:, 5:] = 0.0  # the last latent's
  after = ENCODE(params, video)
  np.testing.assert_allclose(before[:, :2], after[:, :2], atol=1e-6)
  assert np.abs(before[:, 2] - after[:, 2]).max() > 1e-3
  z_BFYXC = np.copy(seen['latents'])
  z_BFYXC[:, 2] = 0.0
  before, after = DECODE(params, seen['latents']), DECODE(params, z_BFYXC)
  np.testing.assert_allclose(before[:, :5], after[:, :5], atol=1e-6)
  assert np.abs(before[:, 5] - after[:, 5]).max() > 1e-3


@pytest.mark.slow
def test_rows_over_devices_change_nothing(params, seen):
  mesh = make_mesh(MeshConfig(data=1, fsdp=1, sequence=4, tensor=2))
  z_BFYXC = seen['latents'][:, 1:2]
  state = CODEC.init_decode(params, (1, 2, 3, 4))
  alone_BTYXC, _ = DECODE_CHUNK(params, z_BFYXC, state, first=False)
  with jax.set_mesh(mesh):
    split_BTYXC, split_state = jax.jit(
      lambda z, s: CODEC.decode_chunk(params, z, s, False)
    )(z_BFYXC, state)
  caches = jax.tree.leaves(split_state)
  # 16 rows over 8 devices
  assert caches[-1].shape == (1, 2, 16, 24, 4)
  assert caches[-1].sharding.shard_shape(caches[-1].shape)[2] == 2
  np.testing.assert_allclose(split_BTYXC, alone_BTYXC, atol=1e-5)


@pytest.mark.slow
def test_a_tile_is_decoded_as_if_it_were_alone(params):
  codec = WanVae(dataclasses.replace(CFG, tile=4))
  z_BFYXC = 0.5 * jax.random.normal(jax.random.key(0), (1, 2, 4, 7, 4))
  tiled_BTYXC = jax.jit(codec.decode)(params, z_BFYXC)
  assert tiled_BTYXC.shape == (1, 5, 32, 56, 3)
  # the first and the last column of latents are in one tile each
  for side, column in (((0, 4), slice(0, 8)), ((3, 7), slice(-8, None))):
    alone_BTYXC = DECODE(params, z_BFYXC[:, :, :, slice(*side)])
    np.testing.assert_allclose(
      tiled_BTYXC[..., column, :], alone_BTYXC[..., column, :], atol=1e-5
    )
  state = codec.init_decode(params, (1, 4, 7, 4))
  chunk = jax.jit(codec.decode_chunk, static_argnames='first')
  one, state = chunk(params, z_BFYXC[:, :1], state, first=True)
  two, _ = chunk(params, z_BFYXC[:, 1:], state, first=False)
  np.testing.assert_allclose(
    np.concatenate([one, two], 1), tiled_BTYXC, atol=1e-5
  )


@pytest.mark.slow
def test_a_tile_is_encoded_as_if_it_were_alone(params):
  codec = WanVae(dataclasses.replace(CFG, tile=4))
  video_BTYXC = jax.random.uniform(jax.random.key(0), (1, 5, 32, 56, 3))
  z_BFYXC = jax.jit(codec.encode)(params, video_BTYXC)
  assert z_BFYXC.shape == (1, 2, 4, 7, 4)
  alone_BFYXC = ENCODE(params, video_BTYXC[..., :32, :])
  np.testing.assert_allclose(
    z_BFYXC[..., :1, :], alone_BFYXC[..., :1, :], atol=1e-5
  )


@pytest.mark.slow
def test_bfloat16_is_close(params, seen):
  codec = WanVae(dataclasses.replace(CFG, compute_dtype='bfloat16'))
  away = jax.jit(codec.decode)(params, seen['latents']) - DECODE(
    params, seen['latents']
  )
  assert away.dtype == np.float32 and np.abs(away).mean() < 0.02


def test_the_published_size_has_the_published_names(fixtures):
  """All names of diffusers, and some of the original."""
  codec = WanVae(dataclasses.replace(CFG, channels=16, width=96, blocks=2))
  shapes = tree.paths(jax.eval_shape(codec.init, jax.random.key(0)))
  shapes = {path: x.shape for path, x in shapes.items() if '/' in path}
  assert len(shapes) == 194
  assert sum(np.prod(shape) for shape in shapes.values()) == 126_892_531
  names = {
    codecs.wan_name(path, 2, diffusers=False): codecs.wan_shape(path, shape)
    for path, shape in shapes.items()
  }
  assert names['conv1.weight'] == (32, 32, 1, 1, 1)
  assert names['encoder.downsamples.3.shortcut.bias'] == (192,)
  assert names['encoder.middle.1.norm.gamma'] == (384, 1, 1)
  assert names['decoder.upsamples.3.time_conv.weight'] == (768, 384, 3, 1, 1)
  assert names['decoder.head.0.gamma'] == (96, 1, 1, 1)
  lines = (fixtures / 'wan_vae_full_keys.txt').read_text().splitlines()
  listed = [line.split('\t') for line in lines if not line.startswith('#')]
  assert {
    codecs.wan_name(path, 2, diffusers=True): codecs.wan_shape(path, shape)
    for path, shape in shapes.items()
  } == {name: ast.literal_eval(shape) for name, shape, *_ in listed}


def test_it_traces_at_full_size():
  codec = WanVae(
    dataclasses.replace(
      CFG, channels=16, width=96, blocks=2, compute_dtype='bfloat16'
    )
  )
  params = jax.eval_shape(codec.init, jax.random.key(0))
  z_BFYXC = jax.ShapeDtypeStruct((1, 3, 60, 104, 16), jnp.float32)
  state = jax.eval_shape(lambda: codec.init_decode({}, (1, 60, 104, 16)))
  for first, frames in ((True, 9), (False, 12)):
    chunk = functools.partial(codec.decode_chunk, first=first)
    video, after = jax.eval_shape(chunk, params, z_BFYXC, state)
    assert video.shape == (1, frames, 480, 832, 3)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  video = jax.ShapeDtypeStruct((1, 9, 480, 832, 3), jnp.float32)
  assert jax.eval_shape(codec.encode, params, video).shape == z_BFYXC.shape
