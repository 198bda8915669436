"""The command convert: weights from one layout to another, and back."""

import json
import pathlib
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from cinejax import convert
from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh, param_shardings
from cinejax.interop import archive, sizes, views
from cinejax.interop.mapped import read_safetensors
from cinejax.interop.weights import load_params

ROOT = pathlib.Path(__file__).resolve().parents[1]
FIXTURE = ROOT / 'tests' / 'fixtures' / 'fixture_wan_dit_tiny.safetensors'
HALF = 'condition_embedder.text_embedder'  # stored in bfloat16


@pytest.fixture(scope='module')
def source(tmp_path_factory):
  """A pipeline of diffusers with mixed precision."""
  folder = tmp_path_factory.mktemp('pipeline') / 'transformer'
  folder.mkdir()
  weights = {
    name.removeprefix('w.'): x.astype(jnp.bfloat16) if HALF in name else x
    for name, x in load_file(FIXTURE).items()
    if name.startswith('w.')
  }
  save_file(weights, folder / 'diffusion_pytorch_model.safetensors')
  config = {'num_attention_heads': 2, 'attention_head_dim': 24}
  (folder / 'config.json').write_text(json.dumps(config))
  return folder.parent, weights


@pytest.fixture
def run(give_flags):
  def run(source, to, out, **given):
    give_flags(convert, source=str(source), to=to, out=str(out), **given)
    convert.main()
    return out

  return run


def test_round_trip_through_shards_is_bit_equal(source, run, tmp_path):
  folder, weights = source
  wan = run(folder, 'wan', tmp_path / 'wan', shard_gb=1e-4)
  names = sorted(path.name for path in wan.iterdir())
  assert len(names) > 3 and 'diffusion_pytorch_model.safetensors' not in names
  assert json.loads((wan / 'config.json').read_text())['num_heads'] == 2
  for shard in wan.glob('*.safetensors'):  # whole to the library, and small
    assert sum(x.nbytes for x in load_file(shard).values()) <= 1e5
  ours = run(wan, 'cinejax', tmp_path / 'ours')
  assert [path.name for path in ours.iterdir()] == ['base.safetensors']
  back = run(ours, 'diffusers', tmp_path / 'back')
  found = load_file(back / 'diffusion_pytorch_model.safetensors')
  assert found.keys() == weights.keys()
  for name, x in weights.items():
    assert found[name].dtype == x.dtype
    np.testing.assert_array_equal(found[name], x)
  config = json.loads((back / 'config.json').read_text())
  assert config['num_attention_heads'] == 2
  assert config['attention_head_dim'] == 24 and config['num_layers'] == 2


def test_a_self_forcing_checkpoint_is_taken_and_given_back(
  source, run, tmp_path
):
  """A .pt whose names have prefixes is converted to Wan's layout."""
  there = run(source[0], 'self_forcing', tmp_path / 'there', name='student')
  checkpoint = there / 'student.pt'
  for network in ('generator', 'generator_ema'):
    tensors = archive.open_archive(checkpoint, network).tensors
    assert 'blocks.1.self_attn.norm_q.weight' in tensors
  given = {'network': 'generator_ema'}
  found, wanted = (
    load_file(folder / 'diffusion_pytorch_model.safetensors')
    for folder in (
      run(checkpoint, 'wan', tmp_path / 'back', **given),
      run(source[0], 'wan', tmp_path / 'wan'),
    )
  )
  assert found.keys() == wanted.keys()
  for name, x in wanted.items():
    assert found[name].dtype == x.dtype
    np.testing.assert_array_equal(found[name], x)


def test_a_lora_is_merged_on_the_way(source, run, tmp_path):
  matrix = np.eye(48, dtype=np.float32)
  name = 'transformer.blocks.0.attn2.to_v.lora_{}.weight'
  lora = tmp_path / 'lora.safetensors'
  save_file({name.format('A'): matrix, name.format('B'): 2 * matrix}, lora)
  out = run(
    source[0], 'diffusers', tmp_path / 'out', lora=[str(lora), str(lora)]
  )
  found = load_file(out / 'diffusion_pytorch_model.safetensors')
  changed = [k for k, x in source[1].items() if (found[k] != x).any()]
  assert changed == ['blocks.0.attn2.to_v.weight']
  np.testing.assert_allclose(
    found[changed[0]], source[1][changed[0]] + 4 * matrix, rtol=1e-6
  )


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
def test_weights_are_written_in_the_type_that_is_asked_for(
  source, run, tmp_path, dtype
):
  out = run(source[0], 'diffusers', tmp_path / 'out', dtype=dtype)
  found = load_file(out / 'diffusion_pytorch_model.safetensors')
  assert found.keys() == source[1].keys()
  for name, x in source[1].items():
    np.testing.assert_array_equal(found[name], x.astype(jnp.dtype(dtype)))
    assert found[name].dtype == dtype


def test_float8_has_scales_and_is_read_again(source, run, tmp_path):
  out = run(source[0], 'wan', tmp_path / 'wan', dtype='float8')
  tensors, _ = read_safetensors(out / 'diffusion_pytorch_model.safetensors')
  stored = {name: tensor[()] for name, tensor in tensors.items()}
  kernel = 'blocks.1.ffn.0.weight'
  assert stored[kernel].dtype == jnp.float8_e4m3fn
  assert abs(stored[kernel].astype(np.float32)).max() == 448
  assert stored['blocks.1.ffn.0.scale_weight'].dtype == np.float32
  assert stored['blocks.1.ffn.0.bias'].dtype == jnp.bfloat16
  assert stored['scaled_fp8'].shape == (2,)
  back = run(out, 'diffusers', tmp_path / 'back')
  found = load_file(back / 'diffusion_pytorch_model.safetensors')
  assert found.keys() == source[1].keys()
  for name, x in source[1].items():
    largest = np.abs(x.astype(np.float32)).max()
    np.testing.assert_allclose(
      found[name].astype(np.float32), x, rtol=2**-4, atol=largest / 448 / 2**10
    )


def test_numbers_beyond_a_type_are_refused(source, run, tmp_path):
  folder = tmp_path / 'large'
  folder.mkdir()
  name = 'blocks.0.ffn.net.2.bias'
  weights = source[1] | {name: np.full_like(source[1][name], 1e6)}
  save_file(weights, folder / 'diffusion_pytorch_model.safetensors')
  with pytest.raises(UserError, match=r'large for float16; convert'):
    run(folder, 'wan', tmp_path / 'out', dtype='float16')
  with pytest.raises(UserError, match='--dtype=float8 needs --to=wan'):
    run(folder, 'cinejax', tmp_path / 'out', dtype='float8')


def test_fewer_shards_leave_no_stale_index(source, run, tmp_path):
  run(source[0], 'wan', tmp_path / 'wan', shard_gb=1e-4)
  wan = run(source[0], 'wan', tmp_path / 'wan')
  path = archive.locate(wan, 'base')
  assert path.name == 'diffusion_pytorch_model.safetensors'


def test_a_device_reads_its_part(source, run, tmp_path):
  """Wan's shards are loaded as float32 arrays over eight devices."""
  folder, weights = source
  wan = run(folder, 'wan', tmp_path / 'wan', shard_gb=1e-4)
  path = archive.locate(wan, 'base')
  cfg = sizes.read_sizes(archive.open_archive(path), 'wan')
  shapes = sizes.leaf_shapes(cfg)
  mesh = make_mesh(types.SimpleNamespace(data=1, fsdp=4, sequence=1, tensor=2))
  like = tree_lib.nested(
    {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in shapes.items()}
  )
  like = jax.tree.map(
    lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
    like,
    param_shardings(like, mesh),
  )
  loaded = tree_lib.paths(load_params(path, like))
  whole = views.to_leaves(weights, 'diffusers', shapes)
  kernel = loaded['blocks/mlp_in/kernel']
  assert kernel.addressable_shards[0].data.shape == (2, 12, 32)
  for name, x in loaded.items():
    assert x.dtype == jnp.float32
    np.testing.assert_array_equal(x, whole[name][:].astype(np.float32))


@pytest.mark.parametrize(
  ('change', 'sentence'),
  [
    ({'to': 'wan', 'out': None}, 'the source lies there'),
    ({'network': 'critic'}, 'holds one network'),
    ({'source': 'nowhere'}, 'there is no nowhere/base'),
    ({'source': str(FIXTURE)}, 'holds no DiT'),
  ],
)
def test_mistakes_are_sentences(source, run, tmp_path, change, sentence):
  folder, _ = source
  given = {'source': folder, 'to': 'cinejax', 'out': tmp_path / 'out'} | change
  given['out'] = given['out'] or folder / 'transformer'
  with pytest.raises(UserError, match=sentence):
    run(**given)
  assert not (tmp_path / 'out').exists()


def test_a_network_with_a_table_of_positions_is_ours_alone(run, tmp_path):
  story = ROOT / 'weights' / 'story'
  run(source=story, to='cinejax', out=tmp_path / 'out')
  made, was = (
    archive.open_archive(folder / 'base.safetensors').tensors
    for folder in (tmp_path / 'out', story)
  )
  assert {n: x.shape for n, x in made.items()} == {
    n: x.shape for n, x in was.items()
  }
  with pytest.raises(UserError, match='positions has no place in the layout'):
    run(source=story, to='wan', out=tmp_path / 'wan')


def test_the_command_line(source, tmp_path):
  line = [sys.executable, '-m', 'cinejax.convert', f'--source={source[0]}']
  line += ['--to=wan', f'--out={tmp_path / "out"}']
  done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  assert '69 tensors' in done.stdout and 'from diffusers to wan' in done.stdout


def test_screenplays_are_converted(run, tmp_path, capsys):
  theirs = tmp_path / 'pot.json'
  theirs.write_text('{"global_caption": "A pot.", "shot1": "a", "shot2": "b"}')
  run('', 'cinejax', tmp_path, screenplay=str(theirs), chunk_secs=0.75)
  assert 'base.json: 1 films' in capsys.readouterr().out
  ours = json.loads((tmp_path / 'base.json').read_text())
  assert [segment['prompt'] for segment in ours['segments']] == ['a', 'b']
  with pytest.raises(UserError, match='--to=wan must be one of cinejax'):
    run('', 'wan', tmp_path, screenplay=str(theirs))
  with pytest.raises(UserError, match='--source or --screenplay'):
    run('', 'wan', tmp_path)
