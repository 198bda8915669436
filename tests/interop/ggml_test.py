"""GGUF files, read with the package gguf."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.interop.archive import open_archive
from cinejax.interop.mapped import read

RNG = np.random.default_rng(0)
SHAPE = (6, 512)


@pytest.fixture
def gguf():
  return pytest.importorskip('gguf')


def _blocks(gguf, kind, shape=SHAPE):
  """Random blocks of a quantization whose scales are finite."""
  block, length = gguf.GGML_QUANT_SIZES[kind]
  count = shape[1] // block
  found = RNG.integers(0, 256, (shape[0], count, length), np.uint8)
  places = {'Q8_0': (0,), 'Q4_K': (0, 2), 'Q6_K': (208,), 'Q5_1': (0, 2)}
  for place in places[kind.name]:
    scale = RNG.uniform(0.01, 0.1, (shape[0], count, 1)).astype(np.float16)
    found[..., place : place + 2] = scale.view(np.uint8)
  return found.reshape(shape[0], -1)


def _written(gguf, path, tensors, patch=None):
  writer = gguf.GGUFWriter(path, 'wan')
  if patch is not None:
    writer.add_array(
      'comfy.gguf.orig_shape.patch_embedding.weight', list(patch.shape)
    )
    tensors = {'patch_embedding.weight': (patch.reshape(4, -1), None)} | tensors
  for name, (array, kind) in tensors.items():
    writer.add_tensor(name, array, raw_dtype=kind)
  writer.write_header_to_file()
  writer.write_kv_data_to_file()
  writer.write_tensors_to_file()
  writer.close()


@pytest.mark.parametrize('kind', ['Q8_0', 'Q4_K', 'Q6_K', 'Q5_1'])
def test_quantized_rows_are_read_in_parts(tmp_path, gguf, kind):
  kind, path = gguf.GGMLQuantizationType[kind], tmp_path / 'a.gguf'
  blocks = _blocks(gguf, kind)
  _written(gguf, path, {'x.weight': (blocks, kind)})
  tensor = open_archive(path).tensors['x.weight']
  assert (tensor.shape, tensor.dtype) == (SHAPE, np.float32)
  expected = gguf.dequantize(blocks, kind)
  np.testing.assert_array_equal(read(tensor), expected)
  for index in ((slice(1, 4), slice(3, 500)), (slice(2, 3),), (2, slice(7))):
    np.testing.assert_array_equal(tensor[index], expected[index])


def test_eight_bits_are_numbers_times_a_scale(tmp_path, gguf):
  """Q8_0 by hand: 32 numbers after a scale in float16."""
  path, kind = tmp_path / 'a.gguf', gguf.GGMLQuantizationType.Q8_0
  blocks = _blocks(gguf, kind, (2, 32))
  _written(gguf, path, {'x.weight': (blocks, kind)})
  scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
  numbers = blocks[:, 2:].view(np.int8).astype(np.float32)
  found = open_archive(path).tensors['x.weight']
  np.testing.assert_array_equal(found[:], scale * numbers)


def test_plain_types_and_five_axes(tmp_path, gguf):
  patch = RNG.normal(size=(4, 16, 1, 2, 2)).astype(np.float32)
  half = RNG.normal(size=(3, 5)).astype(np.float16)
  brain = np.asarray(jnp.asarray(half, jnp.bfloat16))
  kind = gguf.GGMLQuantizationType.BF16
  tensors = {
    'half': (half, None),
    'model.diffusion_model.brain': (brain.view(np.uint8), kind),
  }
  _written(gguf, tmp_path / 'a.gguf', tensors, patch)
  found = open_archive(tmp_path / 'a.gguf').tensors
  assert found.keys() == {'half', 'brain', 'patch_embedding.weight'}
  np.testing.assert_array_equal(found['patch_embedding.weight'][:], patch)
  np.testing.assert_array_equal(found['half'][1:], half[1:])
  assert found['brain'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(found['brain'][:, 2:], brain[:, 2:])


def test_a_file_that_is_cut_short(tmp_path, gguf):
  path = tmp_path / 'a.gguf'
  _written(gguf, path, {'x': (np.ones((64, 64), np.float32), None)})
  path.write_bytes(path.read_bytes()[:-4096])
  with pytest.raises(UserError, match='not a whole GGUF file'):
    open_archive(path)


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'gguf', None)
  path = tmp_path / 'a.gguf'
  path.write_bytes(b'GGUF' + bytes(64))
  with pytest.raises(UserError, match=r"is a GGUF file, .*'\.\[gguf\]'"):
    open_archive(path)
