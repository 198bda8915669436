"""Published weights of codecs are found and read."""

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.interop import codecs
from cinejax.interop.archive import open_archive
from cinejax.interop.tensors import save_tree
from cinejax.interop.weights import load_codec
from cinejax.models.config import CodecConfig

CFG = CodecConfig('wan_vae', 4, 8, 4, 4, 1, 0, 0, 'float32')
CFG_22 = CodecConfig('wan22_vae', 4, 16, 4, 5, 1, 0, 0, 'float32')


def _weights(fixtures, name):
  """The tensors of a small VAE of Wan, with the names of diffusers."""
  tensors = open_archive(fixtures / f'fixture_{name}.safetensors').tensors
  return {
    name.removeprefix('w.'): x[:]
    for name, x in tensors.items()
    if name.startswith('w.')
  }


@pytest.fixture(scope='module')
def weights(fixtures):
  return _weights(fixtures, 'wan_vae')


@pytest.mark.parametrize('cfg', [CFG, CFG_22], ids=lambda cfg: cfg.name)
def test_a_folder_of_any_layout_gives_the_same(cfg, fixtures, tmp_path):
  weights = _weights(fixtures, cfg.name)
  (tmp_path / 'vae').mkdir()
  theirs = tmp_path / 'vae' / 'diffusion_pytorch_model.safetensors'
  save_file(weights, theirs)
  codec, params = load_codec(cfg, tmp_path)
  jax.tree.map(
    lambda have, want: np.testing.assert_equal(have.shape, want.shape),
    params,
    jax.eval_shape(codec.init, jax.random.key(0)),
  )
  original = tmp_path / 'original.safetensors'
  save_file(
    {
      codecs.wan_name(path, cfg.blocks, diffusers=False): weights[
        codecs.wan_name(path, cfg.blocks, diffusers=True)
      ]
      for path in tree.paths(params)
      if '/' in path
    },
    original,
  )
  ours = tmp_path / 'ours' / 'codec.safetensors'
  save_tree(ours, params, {})
  for path in (original, ours.parent):
    _, again = load_codec(cfg, path)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_what_is_missing_says_where_to_get_it(tmp_path, weights):
  with pytest.raises(UserError, match=r'hf download .*Wan2\.1_VAE\.pth'):
    load_codec(CFG, tmp_path)
  path = tmp_path / 'codec.safetensors'
  bias = weights['quant_conv.bias']
  save_file({**weights, 'quant_conv.bias': bias[:3], 'odd': bias}, path)
  with pytest.raises(
    UserError, match=r'extra: odd.*quant_conv\.bias is \(3,\)'
  ):
    load_codec(CFG, tmp_path)
