"""Weights of eight bits are the numbers that they stand for."""

import json
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop.archive import open_archive
from cinejax.interop.mapped import read
from cinejax.interop.views import LeafView

E4M3, E5M2 = jnp.float8_e4m3fn, jnp.float8_e5m2
RNG = np.random.default_rng(0)


def _stored(dtype, shape=(6, 8)):
  return RNG.normal(size=shape).astype(np.float32).astype(dtype)


def _opened(tmp_path, tensors, metadata=None):
  path = tmp_path / 'a.safetensors'
  tensors = {k: np.ascontiguousarray(x) for k, x in tensors.items()}
  save_file(tensors, path, metadata)
  return open_archive(path).tensors


def _check(tensor, expected):
  np.testing.assert_array_equal(read(tensor, np.float32), expected)
  for index in (
    (slice(1, 4), slice(2, 8)),
    (slice(3, None),),
    (slice(None), slice(0, 3)),
  ):
    np.testing.assert_array_equal(
      read(tensor, np.float32, index), expected[index]
    )
  np.testing.assert_array_equal(tensor[2], expected[2])
  np.testing.assert_array_equal(tensor[2:, 3], expected[2:, 3])


@pytest.mark.parametrize('dtype', [E4M3, E5M2])
def test_float8_without_a_scale_is_exact(tmp_path, dtype):
  stored = np.arange(256, dtype=np.uint8).view(dtype).reshape(16, 16)
  stored = np.where(np.isfinite(stored.astype(np.float32)), stored, dtype(0))
  tensor = _opened(tmp_path, {'x.weight': stored})['x.weight']
  assert tensor.dtype == jnp.bfloat16
  _check(tensor, stored.astype(np.float32))


@pytest.mark.parametrize('dtype', [E4M3, E5M2, np.int8])
@pytest.mark.parametrize(
  'name', ['scale_weight', 'weight_scale', 'weight_scale_inv']
)
@pytest.mark.parametrize(
  'shape', [(), (1,), (6,), (6, 1), (1, 1), (3, 4), (1, 8)]
)
def test_scales_multiply(tmp_path, dtype, name, shape):
  stored = _stored(dtype) if dtype != np.int8 else np.int8(
    RNG.integers(-128, 128, (6, 8))
  )  # fmt: skip
  scale = RNG.uniform(0.5, 2, shape).astype(np.float32)
  tensors = {
    'model.diffusion_model.x.weight': stored,
    f'model.diffusion_model.x.{name}': np.asarray(scale),
    'model.diffusion_model.x.input_scale': np.ones((), np.float32),
    'model.diffusion_model.y.scale_input': np.ones((), np.float32),
    'model.diffusion_model.y.weight': np.ones((2, 2), np.float32),
    'model.diffusion_model.y.scale_weight': np.full((), 9, np.float32),
    'scaled_fp8': np.zeros(2, E4M3),
  }
  found = _opened(tmp_path, tensors)
  assert found.keys() == {'x.weight', 'y.weight'}
  blocks = scale.reshape(-1, 1) if scale.ndim == 1 else scale
  whole = np.ones((6, 8), np.float32) * (
    blocks
    if scale.ndim == 0
    else np.kron(
      blocks, np.ones((6 // blocks.shape[0], 8 // blocks.shape[1]), np.float32)
    )
  )
  _check(found['x.weight'], stored.astype(np.float32) * whole)
  np.testing.assert_array_equal(found['y.weight'][:], np.ones((2, 2)))


def test_torchaos_flat_names(tmp_path):
  stored, scale = _stored(E4M3), RNG.uniform(1, 2, (6, 1)).astype(np.float32)
  tensors = {'0._weight_qdata': stored, '0._weight_scale': scale}
  kind = {'_type': 'Float8Tensor', '_data': {'block_size': [1, 8]}}
  found = _opened(tmp_path, tensors, {'0.weight': json.dumps(kind)})
  _check(found['0.weight'], stored.astype(np.float32) * scale)
  kind = {'_type': 'Int4Tensor'}
  with pytest.raises(UserError, match=r"as torchao's Int4Tensor"):
    _opened(tmp_path, tensors, {'0.weight': json.dumps(kind)})


def test_comfys_description_of_a_layer(tmp_path):
  def layer(**settings):
    text = np.frombuffer(json.dumps(settings).encode(), np.uint8)
    one = np.full((), 2, np.float32)
    return {'x.weight': stored, 'x.weight_scale': one, 'x.comfy_quant': text}

  stored = _stored(E4M3)
  found = _opened(tmp_path, layer(format='float8_e4m3fn'))
  _check(found['x.weight'], 2 * stored.astype(np.float32))
  for settings, kind in (
    ({'format': 'nvfp4'}, 'nvfp4'),
    ({'format': 'int8_tensorwise', 'convrot': True}, 'with rotations'),
  ):
    with pytest.raises(UserError, match=f'{kind} .*which is not read'):
      _opened(tmp_path, layer(**settings))
  with pytest.raises(UserError, match='no description of a quantization'):
    _opened(tmp_path, layer(other=1))


@pytest.mark.parametrize(
  ('tensors', 'sentence'),
  [
    ({'x.weight': np.zeros((2, 2), np.int8)}, 'as int8 without scales'),
    ({'x.weight_scale': np.ones(2)}, r'no x\.weight that it could scale'),
    (
      {'x.weight': _stored(E4M3), 'x.weight_scale': np.ones(5)},
      r'of shape \(5,\), which divides no rows',
    ),
    (
      {
        'x.weight': np.zeros((6, 4), np.uint8),
        'x.weight_scale': np.ones((6, 1)),
      },
      'as four bits',
    ),
    ({'x.qweight': np.zeros((2, 2), np.int32)}, 'GPTQ or AWQ'),
    ({'x.weight.absmax': np.zeros(2)}, 'as bitsandbytes'),
  ],
)
def test_what_cannot_be_read_is_named(tmp_path, tensors, sentence):
  with pytest.raises(UserError, match=sentence):
    _opened(tmp_path, tensors)


@pytest.mark.parametrize(
  ('name', 'dtype'), [('float8_e4m3fn', E4M3), ('float8_e5m2', E5M2)]
)
def test_pytorch_keeps_float8_in_storages_of_bytes(tmp_path, name, dtype):
  """The pickle is assembled as torch.save of PyTorch 2.8 writes it."""
  stored, path = _stored(dtype, (3, 4)), tmp_path / 'a.pt'
  storage = b'(X\7\0\0\0storagectorch.storage\nUntypedStorage\n'
  storage += b'X\1\0\0\0' + b'0X\3\0\0\0cpuK\x0ctQ'
  rest = b'K\0K\3K\4\x86K\4K\1\x86\x89ccollections\nOrderedDict\n)R'
  tensor = b'ctorch._utils\n_rebuild_tensor_v3\n(' + storage + rest
  tensor += f'ctorch\n{name}\n'.encode() + b'tR'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/data.pkl', b'\x80\2}X\1\0\0\0x' + tensor + b's.')
    archive.writestr('a/data/0', stored.tobytes())
  found = open_archive(path).tensors['x']
  np.testing.assert_array_equal(
    read(found, np.float32), stored.astype(np.float32)
  )


def test_torchaos_pickles_are_named(tmp_path):
  path = tmp_path / 'a.pt'
  with zipfile.ZipFile(path, 'w') as archive:
    archive.writestr('a/data.pkl', b'\x80\2ctorchao.dtypes\nQuantized\n.')
  with pytest.raises(UserError, match=r'by torchao .*\(Quantized\)'):
    open_archive(path)


def test_types_may_be_mixed():
  types = (jnp.bfloat16, np.float16, np.float32)
  parts = tuple(np.ones((2, 3), dtype) for dtype in types)
  for some in (parts, parts[:2]):
    leaf = LeafView(some, 'transposed', True)
    assert leaf.dtype == np.float32
    np.testing.assert_array_equal(read(leaf), np.ones((len(some), 3, 2)))
