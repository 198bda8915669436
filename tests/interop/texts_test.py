"""A text encoder with its weights and tokenizer, from one folder."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.interop.archive import open_archive
from cinejax.interop.texts import load_text, read_umt5
from cinejax.models.config import TextConfig

CFG = TextConfig('umt5', words=12, features=32, folder='')


@pytest.fixture
def folder(fixtures, tmp_path):
  tokenizers = pytest.importorskip('tokenizers')
  tensors = open_archive(fixtures / 'fixture_umt5.safetensors').tensors
  (tmp_path / 'text_encoder').mkdir()
  save_file(
    {
      name.removeprefix('w.'): x[:]
      for name, x in tensors.items()
      if name.startswith('w.')
    },
    tmp_path / 'text_encoder' / 'model.safetensors',
  )
  words = {'</s>': 1, '<unk>': 2, 'ada': 3, 'walks': 4}
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  (tmp_path / 'google' / 'umt5-xxl').mkdir(parents=True)
  tokenizer.save(str(tmp_path / 'google' / 'umt5-xxl' / 'tokenizer.json'))
  return tmp_path


def _cfg(folder, features=32):
  return TextConfig('umt5', words=12, features=features, folder=str(folder))


def test_prompts_are_encoded_from_a_folder(folder):
  text = load_text(_cfg(folder))
  out = text.encode(['ada walks', 'ada', 'Ada'])
  assert out.shape == (3, 12, 32) and out.dtype == np.float32
  assert out[0, :2].any(-1).all() and not out[0, 2:].any()
  assert np.abs(out[1] - out[2]).max() > 0.1
  np.testing.assert_array_equal(text.encode([' ada  walks'])[0], out[0])


def test_devices_share_its_weights(folder):
  """Each device has an eighth of large parameters; results are the same."""
  mesh = make_mesh(MeshConfig(data=1, fsdp=1, sequence=4, tensor=2))
  file = folder / 'text_encoder' / 'model.safetensors'
  _, params = read_umt5(open_archive(file), mesh)
  for leaf in jax.tree.leaves(params):
    here = leaf.addressable_shards[0].data
    assert leaf.size // here.size == (8 if leaf.size > 1000 else 1)
  prompts = ['ada walks', 'Ada']
  split = load_text(_cfg(folder), mesh).encode(prompts)
  with jax.set_mesh(mesh):  # as in training, where it stays on one
    whole = load_text(_cfg(folder)).encode(prompts)
  np.testing.assert_allclose(split, whole, atol=1e-5)


def test_what_is_missing_is_named(folder, tmp_path):
  with pytest.raises(UserError, match=r'config\.text\.folder is empty'):
    load_text(CFG)
  with pytest.raises(UserError, match=r'features is 16; .* has 32'):
    load_text(_cfg(folder, features=16))
  tokenizer = folder / 'google' / 'umt5-xxl' / 'tokenizer.json'
  tokenizer.rename(folder / 'aside')
  with pytest.raises(
    UserError, match=r'no tokenizer .*google/umt5-xxl/tokenizer\.json; it comes'
  ):
    load_text(_cfg(folder))
  tokenizer.write_text('{}')
  with pytest.raises(UserError, match=r'tokenizer\.json is no tokenizer'):
    load_text(_cfg(folder))
  (folder / 'aside').rename(tokenizer)
  (folder / 'text_encoder' / 'model.safetensors').unlink()
  with pytest.raises(
    UserError, match=r'umt5-xxl-enc-bf16\.pth in .*hf download'
  ):
    load_text(_cfg(folder))
