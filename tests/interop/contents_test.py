"""Files that are not what their names say."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop.archive import locate, open_archive
from cinejax.interop.pickling import write_torch

ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)
POINTER = (
  b'version https://git-lfs.github.com/spec/v1\n'
  b'oid sha256:00\nsize 2838276144\n'
)


@pytest.mark.parametrize('name', ['a.safetensors', 'a.pth', 'a.pt', 'a.bin'])
@pytest.mark.parametrize(
  ('content', 'sentence'),
  [
    (POINTER, 'a pointer of Git LFS, .*git lfs pull'),
    (b'<!DOCTYPE html>\n<html><body>404', 'a web page, .*hf download'),
    (b'\n <html lang="en">', 'a web page'),
    (b'{"error": "Repository not found"}', 'a JSON text'),
    (b'', 'an empty file'),
    (bytes(4096), 'full of zeros'),
    (b'\x1f\x8b' + bytes(100), 'a packed archive; unpack it'),
    (b'\x80\x02\x8a\nl\xfc\x9cF\xf9', 'a pickle, .*PyTorch 1.6'),
  ],
)
def test_what_is_no_weights_is_named(tmp_path, name, content, sentence):
  path = tmp_path / name
  path.write_bytes(content)
  with pytest.raises(UserError, match=f'{name} is {sentence}'):
    open_archive(path)


def test_a_file_is_read_by_what_it_holds(tmp_path):
  save_file({'rows': ROWS}, tmp_path / 'a.pt')
  write_torch(tmp_path / 'b.safetensors', ('generator',), {'rows': ROWS})
  write_torch(tmp_path / 'c.bin', ('generator',), {'rows': ROWS})
  for name in ('a.pt', 'b.safetensors', 'c.bin'):
    rows = open_archive(tmp_path / name).tensors['rows']
    np.testing.assert_array_equal(rows[:], ROWS)


def test_a_file_that_is_cut_short_says_by_how_much(tmp_path):
  path = tmp_path / 'a.safetensors'
  save_file({'rows': ROWS}, path)
  whole = path.read_bytes()
  path.write_bytes(whole[:20])
  with pytest.raises(UserError, match=r'header alone has .* and the file 20'):
    open_archive(path)
  path.write_bytes(whole[:-1])
  with pytest.raises(UserError, match='rows lies beyond its end'):
    open_archive(path)


def test_a_type_that_is_not_read_is_named(tmp_path):
  path = tmp_path / 'a.safetensors'
  entry = {'dtype': 'F4', 'shape': [2], 'data_offsets': [0, 1]}
  header = json.dumps({'x': entry}).encode()
  path.write_bytes(len(header).to_bytes(8, 'little') + header + b'\0')
  with pytest.raises(UserError, match='holds x in the type F4'):
    open_archive(path)


@pytest.mark.parametrize(
  'wrapper',
  [
    'model.diffusion_model.',
    'diffusion_model.',
    'model.',
    'generator_ema.model.',
    'student.',
    'model_ema.',
    'net.',
    'pipe.dit.',
    'unet.',
  ],
)
def test_wrappers_of_names(tmp_path, wrapper):
  path = tmp_path / 'a.safetensors'
  tensors = {f'{wrapper}blocks.0.x': ROWS}
  if wrapper == 'model.diffusion_model.':
    tensors['first_stage_model.decoder.x'] = ROWS
  if wrapper == 'generator_ema.model.':
    tensors['generator.model.blocks.0.x'] = 2 * ROWS
    tensors['critic.model.blocks.0.x'] = 3 * ROWS
  save_file(tensors, path)
  found = open_archive(path).tensors
  assert found.keys() == {'blocks.0.x'}
  np.testing.assert_array_equal(found['blocks.0.x'][:], ROWS)
  if wrapper == 'generator_ema.model.':
    critic = open_archive(path, 'critic').tensors['blocks.0.x']
    np.testing.assert_array_equal(critic[:], 3 * ROWS)
  with pytest.raises(UserError, match='holds one network, not real'):
    open_archive(path, 'real')


@pytest.mark.parametrize(
  'networks',
  [
    ('generator', 'generator_ema'),
    ('student', 'critic'),
    ('model_ema', 'model'),
    ('generator_lora',),
  ],
)
def test_wrappers_of_checkpoints(tmp_path, networks):
  path = tmp_path / 'a.pt'
  write_torch(path, networks, {'model.rows': ROWS})
  np.testing.assert_array_equal(open_archive(path).tensors['rows'][:], ROWS)


@pytest.mark.parametrize(
  'experts',
  [('high_noise_model', 'low_noise_model'), ('transformer', 'transformer_2')],
)
def test_two_experts_are_named(tmp_path, experts):
  for name in experts:
    (tmp_path / name).mkdir()
    save_file(
      {'x': ROWS}, tmp_path / name / 'diffusion_pytorch_model.safetensors'
    )
  with pytest.raises(UserError, match=f'Wan 2.2 14B.*{experts[1]} to train'):
    locate(tmp_path, 'base')
  one = tmp_path / experts[1]
  assert locate(one, 'base').parent == one


@pytest.mark.parametrize(
  'header',
  [
    {'__metadata__': {'config': None}},
    {'a\nb': {'dtype': 'F32', 'shape': [0], 'data_offsets': [0, 0]}},
    {'a': {'dtype': 'F32', 'shape': [0.0], 'data_offsets': [0, 0]}},
    {'a': {'dtype': 'F32', 'shape': [False], 'data_offsets': [0, 0]}},
    {'a': [[]]},
  ],
)
def test_headers_of_wrong_types_are_one_sentence(tmp_path, header):
  path = tmp_path / 'a.safetensors'
  text = json.dumps(header).encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text)
  with pytest.raises(UserError, match='not a whole safetensors') as caught:
    open_archive(path)
  assert len(str(caught.value).splitlines()) == 1


def test_a_header_that_names_a_tensor_twice(tmp_path):
  path = tmp_path / 'a.safetensors'
  entry = '"a": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}'
  text = f'{{{entry}, {entry}}}'.encode()
  path.write_bytes(len(text).to_bytes(8, 'little') + text)
  with pytest.raises(UserError, match='it has a twice'):
    open_archive(path)


def test_a_header_that_is_too_deep(tmp_path):
  path = tmp_path / 'a.safetensors'
  text = b'{"a":' + b'[' * 100_000
  path.write_bytes(len(text).to_bytes(8, 'little') + text)
  with pytest.raises(UserError, match='not a whole safetensors'):
    open_archive(path)
