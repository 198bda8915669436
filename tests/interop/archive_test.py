"""Weights files of all formats, read in parts."""

import io
import json
import pathlib
import pickle
import sys
import types
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop.archive import (
  PUBLISHED_NAME,
  find_archive,
  locate,
  open_archive,
)
from cinejax.interop.mapped import read_safetensors
from cinejax.interop.wrappers import bare_name

TORCH = (
  pathlib.Path(__file__).resolve().parents[1]
  / 'fixtures'
  / 'fixture_torch.pth'  # made by make_torch.py
)
ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_safetensors_are_read_in_parts(tmp_path):
  path = tmp_path / 'a.safetensors'
  half = np.asarray(jnp.arange(24.0).reshape(2, 3, 4).astype(jnp.bfloat16))
  tensors = {'model.half': half, 'rows': ROWS, 'one': np.array(7)}
  save_file(tensors | {'none': np.zeros((0, 3))}, path, {'steps': '7'})
  archive = open_archive(path)
  assert archive.metadata == {'steps': '7'}
  assert archive.tensors.keys() == {'half', 'rows', 'one', 'none'}
  found = archive.tensors['half']
  assert (found.shape, found.dtype) == ((2, 3, 4), jnp.bfloat16)
  np.testing.assert_array_equal(found[1:, ::2, 1:3], half[1:, ::2, 1:3])
  assert archive.tensors['one'][()] == 7 and archive.tensors['one'].shape == ()
  assert archive.tensors['none'][:].shape == (0, 3)


def test_a_torch_checkpoint_is_read_without_torch():
  tensors = open_archive(TORCH).tensors
  np.testing.assert_array_equal(tensors['rows'][:], ROWS)
  np.testing.assert_array_equal(tensors['columns'][:], ROWS.T)
  np.testing.assert_array_equal(tensors['columns'][1:, :2], ROWS.T[1:, :2])
  np.testing.assert_array_equal(tensors['corner'][:], ROWS[1:, 2:])
  half = np.linspace(-1, 1, 5, dtype=np.float32)
  assert tensors['half'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(tensors['half'][:].astype(np.float32), half)
  assert tensors['learnt'].shape == (2, 2) and tensors['learnt'][:].any()
  assert tensors['count'][()] == 7 and tensors['none'][:].shape == (0, 3)


@pytest.mark.parametrize(
  ('network', 'more'), [('', 0), ('generator', 1), ('critic', 2)]
)
def test_one_network_of_several_is_taken(network, more):
  rows = open_archive(TORCH, network).tensors['rows']
  np.testing.assert_array_equal(rows[:], ROWS + more)


def test_an_error_of_an_unknown_network_names_those_that_are_there():
  with pytest.raises(UserError, match='has no network real; it has generator'):
    open_archive(TORCH, 'real')


def test_what_wrappers_put_into_names_is_taken_out():
  name = 'model._fsdp_wrapped_module.blocks.0._orig_mod.ffn.0.weight'
  assert bare_name(name) == 'blocks.0.ffn.0.weight'
  assert bare_name('head.head.weight') == 'head.head.weight'
  assert bare_name('blocks/mlp_in/kernel') == 'blocks/mlp_in/kernel'


class _Call:
  """An object whose pickle is a call."""

  def __init__(self, function, *arguments):
    self._call = function, arguments

  def __reduce__(self):
    return self._call


def _zipped(path, content, compression=zipfile.ZIP_STORED):
  with zipfile.ZipFile(path, 'w', compression) as archive:
    archive.writestr('archive/data.pkl', content)
    archive.writestr('archive/data/0', bytes(16))


def _pickled(monkeypatch, size, count=4, offset=0, stride=(1,)):
  """A tensor with any description, over a storage of 16 bytes."""
  names = {
    'torch': {'FloatStorage': type('FloatStorage', (), {})},
    'torch._utils': {'_rebuild_tensor_v2': lambda *_: None},
  }
  for module, content in names.items():
    fake = types.ModuleType(module)
    for name, x in content.items():
      x.__module__, x.__qualname__ = module, name
      setattr(fake, name, x)
    monkeypatch.setitem(sys.modules, module, fake)
  place = (
    'storage', names['torch']['FloatStorage'], '0', 'cpu', count
  )  # fmt: skip

  class Pickler(pickle.Pickler):
    def persistent_id(self, x):
      return place if x is place else None

  rebuild = names['torch._utils']['_rebuild_tensor_v2']
  out = io.BytesIO()
  Pickler(out, 2).dump(
    {'x': _Call(rebuild, place, offset, size, stride, False, None)}
  )
  return out.getvalue()


def test_a_pickle_that_calls_is_refused_and_not_run(tmp_path):
  path, trace = tmp_path / 'a.pth', tmp_path / 'trace'
  _zipped(path, pickle.dumps({'x': _Call(open, str(trace), 'w')}, 2))
  with pytest.raises(UserError, match=r'asks for .*open.* tensors only'):
    open_archive(path)
  assert not trace.exists()


@pytest.mark.parametrize('content', [{'x': 1}, {'x': {'y': 'z'}}, [1, 2]])
def test_what_is_no_tensor_is_refused(tmp_path, content):
  path = tmp_path / 'a.pth'
  _zipped(path, pickle.dumps(content, 2))
  with pytest.raises(UserError, match='save a state dict'):
    open_archive(path)


def test_a_torch_tensor_keeps_within_its_storage(tmp_path, monkeypatch):
  path = tmp_path / 'a.pth'
  _zipped(path, _pickled(monkeypatch, (4,)))
  np.testing.assert_array_equal(open_archive(path).tensors['x'][:], np.zeros(4))
  for fault in (
    {'size': (5,)},
    {'size': (4,), 'offset': 1},
    {'size': (4,), 'offset': -1},
    {'size': (2,), 'stride': (4,)},
    {'size': (2,), 'count': 5},
  ):
    _zipped(path, _pickled(monkeypatch, **fault))
    with pytest.raises(UserError, match='not a whole checkpoint'):
      open_archive(path)


def test_broken_files_are_named(tmp_path):
  path = tmp_path / 'a.pth'
  with pytest.raises(UserError, match='no weights file'):
    open_archive(path)
  _zipped(path, pickle.dumps({}), zipfile.ZIP_DEFLATED)
  with pytest.raises(UserError, match='is compressed'):
    open_archive(path)
  path.write_bytes(TORCH.read_bytes()[:-40])
  with pytest.raises(UserError, match=r'a\.pth is not a whole checkpoint'):
    open_archive(path)
  cut = tmp_path / 'a.safetensors'
  save_file({'rows': ROWS}, cut)
  cut.write_bytes(cut.read_bytes()[:-4])
  with pytest.raises(UserError, match='rows lies beyond its end'):
    read_safetensors(cut)


@pytest.fixture
def shards(tmp_path):
  files = {'a': 'm-1.safetensors', 'b': 'm-2.safetensors'}
  for number, (name, file) in enumerate(files.items()):
    save_file({name: ROWS + number}, tmp_path / file)
  index = tmp_path / 'm.safetensors.index.json'
  index.write_text(json.dumps({'weight_map': files}))
  return index


def test_shards_are_one_archive(shards):
  assert find_archive(shards.parent, 'none', 'm') == shards
  assert find_archive(shards.parent, 'none') is None
  tensors = open_archive(shards).tensors
  for number, name in enumerate('ab'):
    np.testing.assert_array_equal(tensors[name][:], ROWS + number)


def test_of_a_tensor_in_two_shards_the_index_names_one(shards):
  """As when shards of two downloads lie in one folder."""
  other = shards.parent / 'm-2.safetensors'
  save_file({'a': ROWS + 7, 'b': ROWS + 1}, other)
  np.testing.assert_array_equal(open_archive(shards).tensors['a'][:], ROWS)
  shards.write_text(shards.read_text().replace('"b":', '"a":'))
  with pytest.raises(UserError, match=r'no index of shards \(it has a twice'):
    open_archive(shards)


def test_an_error_names_what_a_folder_holds_instead(shards):
  folder = shards.parent
  with pytest.raises(UserError, match=r'; .* has m-1\.safetensors, m-2'):
    locate(folder, 'base')
  (folder / 'student.pt').touch()
  with pytest.raises(UserError, match=r', student\.pt; give'):
    locate(folder, 'base')
  for number in '12':
    there = f'{PUBLISHED_NAME}-0000{number}-of-00002.safetensors'
    (folder / f'm-{number}.safetensors').rename(folder / there)
  with pytest.raises(UserError, match='has shards without their index'):
    locate(folder, 'base')


def test_a_shard_that_is_not_there_is_named(shards):
  (shards.parent / 'm-2.safetensors').unlink()
  with pytest.raises(UserError, match=r'names m-2\.safetensors, which .*lacks'):
    open_archive(shards)
  save_file({'c': ROWS}, shards.parent / 'm-2.safetensors')
  with pytest.raises(UserError, match='names b, which its shards do not hold'):
    open_archive(shards)


def test_an_error_names_what_a_folder_without_it_holds(tmp_path):
  (tmp_path / 'dmd.safetensors').touch()
  sentence = r'no .*four\.safetensors, .*; .* has dmd\.safetensors; give'
  with pytest.raises(UserError, match=sentence):
    locate(tmp_path, 'four')


@pytest.mark.parametrize('text', ['{', '7', '{"dit": 7}'])
def test_a_broken_config_is_a_sentence(tmp_path, text):
  for name, config in (('ours', '{"dit": {"heads": 2}}'), ('broken', text)):
    save_file(
      {'rows': ROWS}, tmp_path / f'{name}.safetensors', {'config': config}
    )
  ours, broken = (
    open_archive(tmp_path / f'{name}.safetensors')
    for name in ('ours', 'broken')
  )
  assert (ours.config('dit'), ours.config('film')) == ({'heads': 2}, {})
  with pytest.raises(UserError, match='broken config'):
    broken.config('dit')
