"""LoRA files for Wan, in the formats that are in use."""

import json
import pathlib

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.interop import adapters, names, sizes, views
from cinejax.interop.archive import Archive
from cinejax.interop.mapped import read
from cinejax.models import lora

FIXTURE = (
  pathlib.Path(__file__).resolve().parents[1]
  / 'fixtures'
  / 'fixture_wan_dit_tiny.safetensors'
)
RANK = 2
QUERY = 'blocks/self_attention/query/kernel'


@pytest.fixture(scope='module')
def leaves():
  tensors = load_file(FIXTURE)
  tensors = {k[2:]: x for k, x in tensors.items() if k.startswith('w.')}
  archive = Archive(FIXTURE, tensors, {})
  shapes = sizes.leaf_shapes(sizes.read_sizes(archive, 'diffusers'))
  return views.to_leaves(tensors, 'diffusers', shapes)


def _matrices(*features):
  rng = np.random.default_rng(0)
  rows, columns = features
  down = rng.normal(size=(RANK, rows)).astype(np.float32)
  return down, rng.normal(size=(columns, RANK)).astype(np.float32)


STYLES = {
  'diffusers': ('transformer.blocks.{}.attn1.to_q.lora_{}.weight', 'AB'),
  'peft': (
    'base_model.model.blocks.{}.self_attn.q.lora_{}.default.weight',
    'AB',
  ),
  'wan': (
    'diffusion_model.blocks.{}.self_attn.q.lora_{}.weight',
    ('down', 'up'),
  ),
  'kohya': (
    'lora_unet_blocks_{}_self_attn_q.lora_{}.weight',
    ('down', 'up'),
  ),
}


@pytest.mark.parametrize('style', STYLES)
def test_a_layer_is_changed_by_its_product(leaves, tmp_path, style):
  (name, parts), path = STYLES[style], tmp_path / 'a.safetensors'
  down, up = _matrices(48, 48)
  tensors = {
    name.format(1, parts[0]): down,
    name.format(1, parts[1]): up,
  }
  scale = 1.0
  if style in ('wan', 'kohya'):
    alpha = name.split('lora_{}')[0].format(1) + 'alpha'
    tensors[alpha] = np.array(6, np.float32)
    scale = 6 / RANK
  save_file(tensors, path)
  merged = adapters.with_adapter(leaves, path)
  changed = [k for k in leaves if merged[k] is not leaves[k]]
  assert changed == [QUERY]
  before, after = read(leaves[QUERY]), read(merged[QUERY])
  np.testing.assert_array_equal(after[0], before[0])
  np.testing.assert_allclose(
    after[1], before[1] + scale * (up @ down).T, rtol=1e-5, atol=1e-6
  )
  part = (slice(1, 2), slice(5, 20), slice(30, 48))
  np.testing.assert_allclose(
    read(merged[QUERY], index=part), after[part], rtol=1e-5, atol=1e-6
  )


def test_an_adapter_of_ours_is_written_as_diffusers_reads_it(leaves, tmp_path):
  params = tree_lib.nested({k: read(x) for k, x in leaves.items()})
  rng, path = np.random.default_rng(1), tmp_path / 'a.safetensors'
  flat = {
    'blocks/mlp_in/lora_down': (2, 48, RANK),
    'blocks/mlp_in/lora_up': (2, RANK, 64),
    'head/lora_down': (48, RANK),
    'head/lora_up': (RANK, 64),
  }
  adapter = tree_lib.nested(
    {k: rng.normal(size=s).astype(np.float32) for k, s in flat.items()}
  )
  adapters.save_adapter(path, adapter, 8.0 / RANK)
  assert 'transformer.blocks.1.ffn.net.0.proj.lora_A.weight' in load_file(path)
  with safe_open(path, 'np') as file:  # else diffusers asks for a whole config
    assert file.metadata() == {'format': 'pt'}
  merged = adapters.with_adapter(leaves, path)
  expected = tree_lib.paths(lora.merge(params, adapter, 8.0 / RANK))
  for name, x in expected.items():
    np.testing.assert_allclose(read(merged[name]), x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
  ('config', 'scale'),
  [
    ({'r': RANK, 'lora_alpha': 6}, 6 / RANK),
    ({'r': RANK, 'lora_alpha': 6, 'use_rslora': True}, 6 / RANK**0.5),
    (
      {'r': RANK, 'lora_alpha': 6, 'alpha_pattern': {'attn1.to_q': 3}},
      3 / RANK,
    ),
    ({'r': RANK, 'lora_alpha': 6, 'alpha_pattern': {'to_k': 3}}, 6 / RANK),
  ],
)
@pytest.mark.parametrize('place', ['metadata', 'adapter_config.json'])
def test_alpha_is_read_from_either_place(
  leaves, tmp_path, config, scale, place
):
  path, metadata = tmp_path / 'adapter_model.safetensors', {}
  if place == 'metadata':
    config = {f'transformer.{k}': x for k, x in config.items()}
    metadata = {'format': 'pt', 'lora_adapter_metadata': json.dumps(config)}
  else:
    (tmp_path / place).write_text(json.dumps(config))
  down, up = _matrices(48, 48)
  name = 'transformer.blocks.0.attn1.to_q.lora_{}.weight'
  save_file({name.format('A'): down, name.format('B'): up}, path, metadata)
  merged = adapters.with_adapter(leaves, path)[QUERY]
  np.testing.assert_allclose(
    read(merged)[0],
    read(leaves[QUERY])[0] + scale * (up @ down).T,
    rtol=1e-5,
    atol=1e-6,
  )


def test_half_precision_stays(leaves, tmp_path):
  half = {k: read(x, jnp.bfloat16) for k, x in leaves.items()}
  path = tmp_path / 'a.safetensors'
  down, up = _matrices(48, 48)
  name = 'blocks.0.attn1.to_q'
  save_file({f'{name}.lora_A.weight': down, f'{name}.lora_B.weight': up}, path)
  merged = adapters.with_adapter(half, path)[QUERY]
  assert merged.dtype == read(merged).dtype == jnp.bfloat16
  assert read(merged)[0, 0, 0] != half[QUERY][0, 0, 0]


def test_half_precision_does_not_overflow(leaves, tmp_path):
  half = {k: read(x, jnp.float16) for k, x in leaves.items()}
  path = tmp_path / 'a.safetensors'
  down, up = (np.full(x.shape, 300, np.float16) for x in _matrices(48, 48))
  name = 'blocks.0.attn1.to_q'
  save_file({f'{name}.lora_A.weight': down, f'{name}.lora_B.weight': up}, path)
  with pytest.raises(UserError, match='too large for float16; convert'):
    read(adapters.with_adapter(half, path)[QUERY])
  change = read(adapters.with_adapter(leaves, path)[QUERY])[0]
  assert change.mean() == pytest.approx(300 * 300 * RANK, rel=1e-3)


@pytest.mark.parametrize(
  ('config', 'sentence'),
  [
    ({'lora_alpha': '6'}, "'6' is no number"),
    ({'lora_alpha': 6, 'alpha_pattern': ['to_q']}, 'config of peft is broken'),
    ({'lora_alpha': 6, 'alpha_pattern': {'(': 3}}, 'config of peft is broken'),
    (None, 'config of peft is broken'),
  ],
)
def test_a_broken_config_of_peft_is_a_sentence(
  leaves, tmp_path, config, sentence
):
  path, (down, up) = tmp_path / 'adapter_model.safetensors', _matrices(48, 48)
  (tmp_path / 'adapter_config.json').write_text(json.dumps(config))
  name = 'base_model.model.blocks.0.attn1.to_q'
  save_file({f'{name}.lora_A.weight': down, f'{name}.lora_B.weight': up}, path)
  with pytest.raises(UserError, match=sentence):
    adapters.with_adapter(leaves, path)


def test_two_adapters_in_one_file_and_numbers_that_are_none(leaves, tmp_path):
  path, (down, up) = tmp_path / 'a.safetensors', _matrices(48, 48)
  name = 'blocks.0.attn1.to_q'
  both = {f'{name}.lora_A.weight': down, f'{name}.lora_B.weight': up}
  save_file(both | {f'{name}.lora_A.style.weight': down}, path)
  with pytest.raises(UserError, match='holds several adapters'):
    adapters.with_adapter(leaves, path)
  down[0, 0] = np.nan
  save_file(both, path)
  with pytest.raises(UserError, match='to_q that are not finite'):
    adapters.with_adapter(leaves, path)


@pytest.mark.parametrize(
  ('layer', 'shape', 'sentence'),
  [
    ('blocks.0.attn1.to_q.lora_A', (48, 48), 'holds blocks.0.attn1.to_q'),
    ('blocks.0.attn1.to_q.diff_b', (48, 48), 'no LoRA of two matrices'),
    ('blocks.0.attn3.to_q', (48, 48), 'no DiT of Wan 2.1 has such a layer'),
    ('blocks.7.attn1.to_q', (48, 48), 'changes layer 7 of blocks/self'),
    ('blocks.0.attn1.to_q', (48, 64), 'by a matrix of 48x64'),
  ],
)
def test_what_does_not_fit_is_a_sentence(
  leaves, tmp_path, layer, shape, sentence
):
  path, (down, up) = tmp_path / 'a.safetensors', _matrices(*shape)
  both = {f'{layer}.lora_A.weight': down, f'{layer}.lora_B.weight': up}
  if 'lora_A' in layer or 'diff' in layer:
    both = {f'{layer}.weight': down}
  save_file(both, path)
  with pytest.raises(UserError, match=sentence):
    adapters.with_adapter(leaves, path)


def test_every_kernel_has_a_module():
  dense = [r for r in names.rules('wan') if r.how == 'transposed']
  assert len(dense) == len({r.ours for r in dense}) == 16
