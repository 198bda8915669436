"""Fingerprints depend on the files that are read, and on no others."""

import hashlib
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop.archive import INDEX
from cinejax.interop.weights import codec_files
from data_prep.encode import fingerprint


@pytest.fixture
def index(tmp_path):
  """An index of two shards."""
  for number in '12':
    save_file({number: np.ones(3)}, tmp_path / f'm-{number}.safetensors')
  path = tmp_path / f'm{INDEX}'
  files = {number: f'm-{number}.safetensors' for number in '12'}
  path.write_text(json.dumps({'weight_map': files}))
  return path


def test_a_file_is_identified_by_its_bytes(tmp_path):
  path = tmp_path / 'a.safetensors'
  path.write_bytes(b'whatever')
  expected = hashlib.sha256(b'whatever').hexdigest()[:12]
  assert fingerprint(path) == expected


def test_shards_count_but_their_index_does_not(index, tmp_path):
  before = fingerprint(index)
  index.write_text(json.dumps(json.loads(index.read_text()), indent=2))
  assert fingerprint(index) == before
  save_file({'2': np.zeros(3)}, tmp_path / 'm-2.safetensors')
  assert fingerprint(index) != before
  (tmp_path / 'm-2.safetensors').unlink()
  with pytest.raises(UserError, match=r'names m-2\.safetensors'):
    fingerprint(index)


@pytest.mark.parametrize(
  ('name', 'files'),
  [
    ('patch', ['codec.safetensors']),
    ('wan_vae', ['Wan2.1_VAE.pth']),
    ('wan22_vae', ['Wan2.2_VAE.pth']),
    ('wan_vae', ['vae/diffusion_pytorch_model.safetensors']),
    ('taef2', ['taef2_decoder.safetensors', 'taef2_encoder.safetensors']),
  ],
)
def test_only_the_codec_of_a_folder_counts(name, files, tmp_path):
  for file in files:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_bytes(file.encode())
  before = fingerprint(*codec_files(name, tmp_path))
  whole = hashlib.sha256(''.join(files).encode()).hexdigest()[:12]
  assert before == whole  # as data sets that are there have it
  shutil.copy(tmp_path / files[0], tmp_path / 'student.safetensors')
  assert fingerprint(*codec_files(name, tmp_path)) == before
  (tmp_path / files[-1]).write_bytes(b'other')
  assert fingerprint(*codec_files(name, tmp_path)) != before
