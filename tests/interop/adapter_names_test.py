"""Names of adapters' tensors, their files and strengths."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop import adapters
from cinejax.interop.mapped import read
from cinejax.interop.pickling import write_torch

IN, OUT, RANK = 8, 12, 2
MLP, KERNEL = 'ffn.0', 'blocks/mlp_in/kernel'
RNG = np.random.default_rng(0)


def _random(*shape):
  return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def leaves():
  return {KERNEL: _random(2, IN, OUT)}


def _lora():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  return {'lora_down.weight': down, 'lora_up.weight': up}, up @ down


def _merged(leaves, tmp_path, tensors):
  save_file(tensors, tmp_path / 'a.safetensors')
  return adapters.with_adapter(leaves, tmp_path / 'a.safetensors')


def _weight(leaves):
  """That of layer 1 in PyTorch's axes."""
  return read(leaves[KERNEL])[1].T


@pytest.mark.parametrize(
  'layer',
  [
    'unet.blocks.1.ffn.0',
    'lora_unet__blocks_1_ffn_0',
    'lycoris_blocks_1_ffn_0',
    'lora_transformer_blocks_1_ffn_net_0_proj',
    'pipe.dit.blocks.1.ffn.0',
    'base_model.model.blocks.1.ffn.net.0.proj',
  ],
)
def test_prefixes_of_layers(leaves, tmp_path, layer):
  parts, change = _lora()
  tensors = {f'{layer}.{part}': x for part, x in parts.items()}
  merged = _merged(leaves, tmp_path, tensors)
  np.testing.assert_allclose(
    _weight(merged), _weight(leaves) + change, rtol=1e-5, atol=1e-5
  )


def test_peft_has_alpha_and_rank_of_a_whole_lokr(leaves, tmp_path):
  a, b = _random(3, 2), _random(4, 4)
  path = tmp_path / 'adapter_model.safetensors'
  layer = f'base_model.model.blocks.1.{MLP}'
  save_file({f'{layer}.lokr_w1': a, f'{layer}.lokr_w2': b}, path)
  config = {'r': 8, 'alpha': 4, 'rank_pattern': {'ffn.0': 16}}
  path.with_name('adapter_config.json').write_text(json.dumps(config))
  merged = adapters.with_adapter(leaves, path)
  expected = _weight(leaves) + np.kron(a, b) * 4 / 16
  np.testing.assert_allclose(_weight(merged), expected, rtol=1e-5, atol=1e-6)


def test_longlive_has_a_checkpoint(leaves, tmp_path):
  path, (down, up) = (
    tmp_path / 'lora.pt',
    (_random(RANK, IN), _random(OUT, RANK)),
  )
  layer = f'base_model.model.blocks.1.{MLP}'
  tensors = {f'{layer}.lora_A.weight': down, f'{layer}.lora_B.weight': up}
  write_torch(path, ('generator_lora',), tensors)
  merged = adapters.with_adapter(leaves, path)
  np.testing.assert_allclose(
    _weight(merged), _weight(leaves) + up @ down, rtol=1e-5, atol=1e-5
  )


def test_what_is_not_applied_is_counted_and_named(leaves, tmp_path, capsys):
  parts, change = _lora()
  layers = [f'blocks.1.{MLP}', 'blocks.1.cross_attn.k_img', 'img_emb.proj.1']
  tensors = {f'{n}.{part}': x for n in layers for part, x in parts.items()}
  tensors['iteration'] = np.zeros(())
  merged = _merged(leaves, tmp_path, tensors)
  np.testing.assert_allclose(
    _weight(merged), _weight(leaves) + change, rtol=1e-5, atol=1e-5
  )
  note = capsys.readouterr().err
  assert '3 of 4 changes are not applied' in note
  assert 'blocks.1.cross_attn.k_img (weight), img_emb.proj.1 (weight)' in note


def test_a_strength_stands_behind_a_file(tmp_path):
  file = tmp_path / 'a:1.safetensors'
  file.touch()
  assert adapters.parse(str(file)) == (str(file), 1.0)
  assert adapters.parse(f'{file}:0.8') == (str(file), 0.8)
  assert adapters.parse(f'{file}:-1') == (str(file), -1.0)
  assert adapters.parse('none.pt') == ('none.pt', 1.0)
  for strength in ('strong', 'nan', ''):
    with pytest.raises(UserError, match='is no strength; give a number'):
      adapters.parse(f'{file}:{strength}')
