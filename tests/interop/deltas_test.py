"""Adapters of every kind, merged as their authors merge them.

Expected values are in PyTorch's axes, W [out, in].
"""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.interop import adapters, names
from cinejax.interop.mapped import read

IN, OUT, RANK, LAYERS = 8, 12, 2, 2
QUERY, MLP = 'self_attn.q', 'ffn.0'
NORM = 'blocks/self_attention/query_norm/scale'
RNG = np.random.default_rng(0)


def _random(*shape):
  return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def leaves():
  """Leaves of some rules; mlp_in, [IN, OUT], is the one that is not square."""
  shapes = {
    'patch_embedding/kernel': (64, IN),
    'patch_embedding/bias': (IN,),
    'head_modulation': (2, IN),
    'blocks/modulation': (LAYERS, 6, IN),
    'blocks/self_attention/query/kernel': (LAYERS, IN, IN),
    'blocks/self_attention/query/bias': (LAYERS, IN),
    'blocks/self_attention/query_norm/scale': (LAYERS, IN),
    'blocks/mlp_in/kernel': (LAYERS, IN, OUT),
    'blocks/mlp_in/bias': (LAYERS, OUT),
  }
  return {name: _random(*shape) for name, shape in shapes.items()}


def _merged(leaves, tmp_path, tensors, strength=1.0, metadata=None):
  path = tmp_path / 'a.safetensors'
  tensors = {k: np.ascontiguousarray(x) for k, x in tensors.items()}
  save_file(tensors, path, metadata)
  return adapters.with_adapter(leaves, path, strength)


def _weight(leaves, name='blocks/mlp_in/kernel', layer=1):
  return read(leaves[name])[layer].T


def _alpha(x):
  return np.asarray(x, np.float32)


# each row: the parts of a layer, and what is added to W
def _lora():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  parts = {'lora_down.weight': down, 'lora_up.weight': up, 'alpha': _alpha(3)}
  return parts, 3 / RANK * up @ down


def _lora_without_alpha():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  return {'lora_A.weight': down, 'lora_B.weight': up}, up @ down


def _alpha_of_zero():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  parts = {'lora_down.weight': down, 'lora_up.weight': up, 'alpha': _alpha(0)}
  return parts, up @ down


def _old_diffusers():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  return {'lora.down.weight': down, 'lora.up.weight': up}, up @ down


def _bare_peft():
  down, up = _random(RANK, IN), _random(OUT, RANK)
  return {'lora_A.first': down, 'lora_B.first': up}, up @ down


def _loha():
  a, c = _random(OUT, RANK), _random(OUT, RANK)
  b, d = _random(RANK, IN), _random(RANK, IN)
  parts = {'hada_w1_a': a, 'hada_w1_b': b, 'hada_w2_a': c, 'hada_w2_b': d}
  return parts | {'alpha': _alpha(1)}, (a @ b) * (c @ d) / RANK


def _lokr_whole():
  a, b = _random(3, 2), _random(4, 4)
  # alpha counts only if a matrix is factored
  return {'lokr_w1': a, 'lokr_w2': b, 'alpha': _alpha(9)}, np.kron(a, b)


def _lokr_factored():
  a, b, c = _random(3, 2), _random(4, RANK), _random(RANK, 4)
  parts = {'lokr_w1': a, 'lokr_w2_a': b, 'lokr_w2_b': c, 'alpha': _alpha(1)}
  return parts, np.kron(a, b @ c) / RANK


def _lokr_both_factored():
  a, b = _random(3, 1), _random(1, 2)
  c, d = _random(4, RANK), _random(RANK, 4)
  parts = {'lokr_w1_a': a, 'lokr_w1_b': b, 'lokr_w2_a': c, 'lokr_w2_b': d}
  return parts | {'alpha': _alpha(5)}, 5 / RANK * np.kron(a @ b, c @ d)


def _diff():
  change = _random(OUT, IN)
  return {'diff': change}, change


KINDS = [
  _lora,
  _lora_without_alpha,
  _alpha_of_zero,
  _old_diffusers,
  _bare_peft,
  _loha,
  _lokr_whole,
  _lokr_factored,
  _lokr_both_factored,
  _diff,
]


@pytest.mark.parametrize('strength', [1.0, 0.8, -0.5])
@pytest.mark.parametrize('kind', KINDS)
def test_a_kind_is_merged(leaves, tmp_path, kind, strength):
  parts, change = kind()
  layer = f'diffusion_model.blocks.1.{MLP}'
  tensors = {f'{layer}.{part}': x for part, x in parts.items()}
  merged = _merged(leaves, tmp_path, tensors, strength)
  expected = _weight(leaves) + strength * change
  np.testing.assert_allclose(_weight(merged), expected, rtol=1e-5, atol=1e-5)
  np.testing.assert_array_equal(
    _weight(merged, layer=0), _weight(leaves, layer=0)
  )
  part = (slice(1, 2), slice(2, 5), slice(3, 11))
  np.testing.assert_array_equal(
    read(merged['blocks/mlp_in/kernel'], index=part),
    read(merged['blocks/mlp_in/kernel'])[part],
  )
  others = [k for k in leaves if k != 'blocks/mlp_in/kernel']
  assert all(merged[k] is leaves[k] for k in others)


@pytest.mark.parametrize('strength', [1.0, 0.8])
@pytest.mark.parametrize(
  ('name', 'shape', 'axis'),
  [
    ('lora_magnitude_vector', (OUT,), 1),
    ('lora_magnitude_vector.default.weight', (OUT,), 1),
    ('dora_scale', (OUT, 1), 1),
    ('dora_scale', (1, IN), 0),
  ],
)
@pytest.mark.parametrize('kind', [_lora, _loha, _lokr_factored])
def test_dora(leaves, tmp_path, kind, name, shape, axis, strength):
  parts, change = kind()
  magnitude = 1 + np.abs(_random(*shape))
  parts[name] = magnitude
  tensors = {f'blocks.1.{MLP}.{part}': x for part, x in parts.items()}
  merged = _merged(leaves, tmp_path, tensors, strength)
  before = _weight(leaves)
  after = before + change
  norm = np.linalg.norm(after, axis=axis, keepdims=True)
  after = magnitude.reshape((-1, 1) if axis else (1, -1)) * after / norm
  expected = before + strength * (after - before)
  np.testing.assert_allclose(_weight(merged), expected, rtol=1e-4, atol=1e-5)
  part = (slice(1, 2), slice(2, 5), slice(3, 11))
  np.testing.assert_array_equal(
    read(merged['blocks/mlp_in/kernel'], index=part),
    read(merged['blocks/mlp_in/kernel'])[part],
  )


def test_lightx2v_changes_biases_norms_and_modulations(leaves, tmp_path):
  patch = _random(IN, 16, 1, 2, 2)
  changes = {
    f'blocks.1.{QUERY}.diff_b': _random(IN),
    'blocks.1.self_attn.norm_q.diff': _random(IN),
    'blocks.1.diff_m': _random(1, 6, IN),
    'head.diff_m': _random(1, 2, IN),
    'patch_embedding.diff': patch,
    'patch_embedding.diff_b': _random(IN),
  }
  tensors = {f'diffusion_model.{k}': x for k, x in changes.items()}
  merged = _merged(leaves, tmp_path, tensors, 0.5)
  for ours, theirs in (
    ('blocks/self_attention/query/bias', f'blocks.1.{QUERY}.diff_b'),
    (
      'blocks/self_attention/query_norm/scale',
      'blocks.1.self_attn.norm_q.diff',
    ),
    ('blocks/modulation', 'blocks.1.diff_m'),
  ):
    expected = np.array(leaves[ours])
    expected[1] += 0.5 * changes[theirs].reshape(expected[1].shape)
    np.testing.assert_allclose(read(merged[ours]), expected, rtol=1e-6)
  for ours, change in (
    ('head_modulation', changes['head.diff_m'][0]),
    ('patch_embedding/kernel', names.to_ours(patch, 'patch')),
    ('patch_embedding/bias', changes['patch_embedding.diff_b']),
  ):
    expected = leaves[ours] + 0.5 * change
    np.testing.assert_allclose(read(merged[ours]), expected, rtol=1e-6)


def test_the_convolution_of_patches_has_a_lora(leaves, tmp_path):
  down, up = _random(RANK, 16, 1, 2, 2), _random(IN, RANK, 1, 1, 1)
  tensors = {
    'patch_embedding.lora_down.weight': down,
    'patch_embedding.lora_up.weight': up,
  }
  merged = _merged(leaves, tmp_path, tensors)['patch_embedding/kernel']
  change = np.einsum('orabc,rixyz->oixyz', up, down)
  expected = leaves['patch_embedding/kernel'] + names.to_ours(change, 'patch')
  np.testing.assert_allclose(read(merged), expected, rtol=1e-5, atol=1e-5)


def test_a_bias_of_diffusers_is_scaled(leaves, tmp_path):
  layer, bias = 'transformer.blocks.1.ffn.net.0.proj', _random(OUT)
  tensors = {
    f'{layer}.lora_A.weight': _random(RANK, IN),
    f'{layer}.lora_B.weight': _random(OUT, RANK),
    f'{layer}.lora_B.bias': bias,
  }
  config = {'lora_adapter_metadata': json.dumps({'lora_alpha': 6, 'r': RANK})}
  merged = _merged(leaves, tmp_path, tensors, 0.5, config)['blocks/mlp_in/bias']
  expected = leaves['blocks/mlp_in/bias'][1] + 0.5 * 3 * bias
  np.testing.assert_allclose(read(merged)[1], expected, rtol=1e-6)


def test_several_adapters_add_up(leaves, tmp_path):
  total = np.zeros((OUT, IN), np.float32)
  merged = leaves
  for strength, kind in ((0.8, _lora), (-0.3, _lokr_factored)):
    parts, change = kind()
    tensors = {f'blocks.1.{MLP}.{part}': x for part, x in parts.items()}
    merged = _merged(merged, tmp_path, tensors, strength)
    merged = {
      k: read(x) for k, x in merged.items()
    }  # the next has the same path
    total += strength * change
  np.testing.assert_allclose(
    _weight(merged), _weight(leaves) + total, rtol=1e-5, atol=1e-5
  )


@pytest.mark.parametrize(
  ('parts', 'sentence'),
  [
    ({'lora_down.weight': (RANK, IN)}, 'with down alone'),
    ({'hada_w1_a': (OUT, RANK)}, 'with hada_w1_a alone'),
    ({'lokr_w1': (3, 2)}, 'with lokr_w1 alone'),
    ({'alpha': ()}, 'with alpha alone'),
    (
      {'lora_A.weight': (RANK, OUT), 'lora_B.weight': (IN, RANK)},
      'by a matrix of 12x8',
    ),
    ({'diff': (IN, OUT)}, 'changes layer 1 of blocks/mlp_in/kernel'),
    (
      {'lora_A.weight': (3, IN), 'lora_B.weight': (OUT, RANK)},
      'cannot be multiplied',
    ),
    (
      {
        'lora_A.weight': (RANK, IN),
        'lora_B.weight': (OUT, RANK),
        'dora_scale': (5,),
      },
      'use the network that it was made for',
    ),
    (
      {
        'lora_down.weight': (RANK, IN),
        'lora_up.weight': (OUT, RANK),
        'lora_mid.weight': (RANK, RANK),
      },
      'third matrix',
    ),
  ],
)
def test_what_is_not_whole_is_a_sentence(leaves, tmp_path, parts, sentence):
  tensors = {f'blocks.1.{MLP}.{k}': _random(*x) for k, x in parts.items()}
  tensors = {k: np.asarray(x, np.float32) for k, x in tensors.items()}
  with pytest.raises(UserError, match=sentence):
    _merged(leaves, tmp_path, tensors)
