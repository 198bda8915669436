"""TAEHV on random weights: shapes, names, streaming."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.interop import codecs
from cinejax.interop.archive import Archive
from cinejax.models.codec.taehv import Taehv
from cinejax.models.config import CodecConfig

CODEC = Taehv(CodecConfig('taehv', 4, 8, 16, 0, 0, 0, 0, 'float32'))
DECODE_CHUNK = jax.jit(CODEC.decode_chunk, static_argnames='first')


@pytest.fixture(scope='module')
def params():
  # with numpy, because compiling `init` would take longer than all else
  rng = np.random.default_rng(0)

  def leaf(x):
    width = np.prod(x.shape[:-1])
    return rng.normal(0, 0.5 * width**-0.5, x.shape).astype(np.float32)

  shapes = jax.eval_shape(CODEC.init, jax.random.key(0))
  return {**jax.tree.map(leaf, shapes), **_statistics()}


def _statistics():
  return {
    'mean_C': np.zeros(16, np.float32),
    'std_C': np.ones(16, np.float32),
  }


@pytest.mark.slow
def test_decoding_in_chunks_is_decoding_at_once(params):
  z_BFYXC = jax.random.normal(jax.random.key(1), (1, 3, 2, 3, 16))
  whole_BTYXC = jax.jit(CODEC.decode)(params, z_BFYXC)
  assert whole_BTYXC.shape == (1, 9, 16, 24, 3)
  state = CODEC.init_decode(params, (1, 2, 3, 16))
  one, state = DECODE_CHUNK(params, z_BFYXC[:, :1], state, first=True)
  two, after = DECODE_CHUNK(params, z_BFYXC[:, 1:], state, first=False)
  assert jax.tree.map(jnp.shape, after) == jax.tree.map(jnp.shape, state)
  assert (one.shape[1], two.shape[1]) == (1, 8)
  np.testing.assert_allclose(
    np.concatenate([one, two], 1), whole_BTYXC, atol=1e-5
  )
  # the state matters
  fresh = CODEC.init_decode(params, (1, 2, 3, 16))
  lost, _ = DECODE_CHUNK(params, z_BFYXC[:, 1:], fresh, first=False)
  assert np.abs(lost - two).max() > 1e-3


def _published(params):
  """Tensors with the names and axes of PyTorch, including an encoder."""
  found = {'encoder.0.weight': np.zeros((64, 3, 3, 3), np.float32)}
  for path, x in tree.paths(params['decoder']).items():
    name = f'decoder.{path}'.replace('/kernel', '/weight').replace('/', '.')
    x = np.asarray(x)
    found[name] = np.moveaxis(x, (-1, -2), (0, 1)) if x.ndim > 1 else x
  return Archive('', found, {})


def test_published_tensors_are_read(params):
  archive = _published(params)
  # names of the original (taehv.py)
  assert archive.tensors['decoder.1.weight'].shape == (256, 16, 3, 3)
  assert archive.tensors['decoder.3.conv.4.bias'].shape == (256,)
  assert archive.tensors['decoder.7.conv.weight'].shape == (256, 256, 1, 1)
  assert archive.tensors['decoder.8.weight'].shape == (128, 256, 3, 3)
  assert archive.tensors['decoder.13.conv.weight'].shape == (256, 128, 1, 1)
  assert archive.tensors['decoder.15.conv.0.weight'].shape == (64, 128, 3, 3)
  assert archive.tensors['decoder.22.weight'].shape == (3, 64, 3, 3)
  assert 'decoder.20.bias' not in archive.tensors
  loaded = codecs.read_taehv(CODEC, archive)
  jax.tree.map(np.testing.assert_array_equal, loaded, params)
  del archive.tensors['decoder.7.conv.weight']
  with pytest.raises(UserError, match=r'missing: decoder\.7\.conv\.weight'):
    codecs.read_taehv(CODEC, archive)


def test_it_only_decodes(params):
  with pytest.raises(UserError, match='wan_vae'):
    CODEC.encode(params, jnp.zeros((1, 1, 8, 8, 3)))


@pytest.mark.slow
def test_bfloat16_is_close(params):
  codec = Taehv(dataclasses.replace(CODEC.cfg, compute_dtype='bfloat16'))
  z_BFYXC = jax.random.normal(jax.random.key(1), (1, 2, 2, 3, 16))
  away = jax.jit(codec.decode)(params, z_BFYXC) - jax.jit(CODEC.decode)(
    params, z_BFYXC
  )
  assert np.abs(away).mean() < 0.02
