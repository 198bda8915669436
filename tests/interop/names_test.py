"""Our DiT against diffusers' Wan transformer, with the same random weights."""

import ast
import dataclasses
import functools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.interop import names, sizes, views
from cinejax.interop.mapped import read
from cinejax.memory import bank as bank_lib
from cinejax.memory import evict, router
from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser, rollout_pass
from cinejax.models.config import DiTConfig

FIXTURE = (
  pathlib.Path(__file__).resolve().parents[1]
  / 'fixtures'
  / 'fixture_wan_dit_tiny.safetensors'
)
TOLERANCE = 2e-5  # of diffusers', in float32; see the table of docs/interop.md
FRAMES = 3  # of a chunk


@pytest.fixture(scope='module')
def fixture():
  with safe_open(FIXTURE, 'np') as file:
    wan = json.loads(file.metadata()['config'])
  cfg = DiTConfig(
    layers=wan['num_layers'],
    heads=wan['num_attention_heads'],
    head_features=wan['attention_head_dim'],
    mlp_features=wan['ffn_dim'],
    patch=tuple(wan['patch_size']),
    positions=(0, 0),
    actions=0,
    time_features=wan['freq_dim'],
    channels=wan['in_channels'],
    text_features=wan['text_dim'],
    epsilon=wan['eps'],
    compute_dtype='float32',
    remat='none',
    attention='xla',
    unroll='none',
  )
  tensors = load_file(FIXTURE)
  weights = {k[2:]: x for k, x in tensors.items() if k.startswith('w.')}
  return cfg, tensors, weights


def _params(weights, cfg):
  leaves = views.to_leaves(weights, 'diffusers', sizes.leaf_shapes(cfg))
  return tree_lib.nested({name: read(x) for name, x in leaves.items()})


def _frames(x_1CFYX) -> jax.Array:
  return jnp.asarray(x_1CFYX).transpose(0, 2, 3, 4, 1)


@functools.cache
def _bidirectional_fn(cfg):
  return jax.jit(denoiser.make_bidirectional_fn(cfg))


@functools.cache
def _denoise_fn(cfg, memory):
  return jax.jit(rollout_pass.make_denoise_fn(cfg, memory))


def _whole(cfg, params, tensors, t_BSF) -> jax.Array:
  """One bidirectional pass."""
  fn = _bidirectional_fn(cfg)
  text = jnp.asarray(tensors['txt'])[:, None]
  return fn(params, _frames(tensors['x'])[:, None], t_BSF, text)[:, 0]


def _by_chunks(cfg, params, tensors, t_F) -> jax.Array:
  """Passes over a bank, chunk after chunk; each is committed as denoised."""
  memory = MemoryConfig(
    policy='camr',
    window_frames=FRAMES,
    routed_frames=FRAMES,
    bank_frames=3 * FRAMES,
    evict='oldest',
    scope='layer',
    route_layer=1,
    reroute='step',
    cfg_routing='conditional',
    dtype='compute',
    training='routed',
    reencode=False,
    archive='none',
    archive_frames=1,
  )
  fn = _denoise_fn(cfg, memory)
  x = _frames(tensors['x'])
  text = jnp.asarray(tensors['txt'])[:, None]
  bank = bank_lib.empty(
    layers=cfg.layers,
    batch=1,
    frames=memory.bank_frames,
    tokens=x.shape[2] * x.shape[3] // 4,
    heads=cfg.heads,
    features=cfg.head_features,
    dtype=jnp.float32,
  )
  outs = []
  for start in range(0, x.shape[1], FRAMES):
    start_B = jnp.array([start])
    slot_BF = evict.choose_slots(
      bank, start_B, frames=FRAMES, window=FRAMES, evict='oldest'
    )
    bank = bank_lib.reserve(bank, slot_BF, start_B, jnp.zeros(1, jnp.int32))
    view = router.bank_view(
      bank,
      start_B,
      frames=FRAMES,
      window=FRAMES,
      routed=FRAMES,
      policy='camr',
    )
    chunk = x[:, None, start : start + FRAMES]
    t_BSF = t_F[None, None, start : start + FRAMES]
    done = fn(params, chunk, t_BSF, text, bank.memory, view)
    outs.append(done.velocity_BFYXC)
    k, v = (
      y[:, :, 0].reshape(cfg.layers, 1, FRAMES, -1, *y.shape[-2:])
      for y in (done.key_LBSTHK, done.value_LBSTHK)
    )
    bank = bank_lib.write(bank, start_B, k, v)
  return jnp.concatenate(outs, 1)


def _run(case, cfg, params, tensors):
  frames = tensors['x'].shape[2]
  t_FP = tensors['t_tokens'].reshape(frames, -1) / 1000
  np.testing.assert_array_equal(t_FP, np.broadcast_to(t_FP[:, :1], t_FP.shape))
  t_F = jnp.asarray(t_FP[:, 0])
  if case == 'y_blockcausal3':
    return _by_chunks(cfg, params, tensors, t_F)
  if case == 'y_scalar':
    t_F = jnp.full(frames, tensors['t_scalar'][0] / 1000)
  return _whole(cfg, params, tensors, t_F[None, None])


@pytest.mark.parametrize('case', ['y_scalar', 'y_tokens', 'y_blockcausal3'])
def test_parity_with_diffusers(fixture, case):
  cfg, tensors, weights = fixture
  params = _params(weights, cfg)
  expected = _frames(tensors[case])
  error = float(jnp.abs(_run(case, cfg, params, tensors) - expected).max())
  assert error <= TOLERANCE
  # the tolerance is tight enough to notice a small change of one weight
  wrong = dict(weights)
  name = 'blocks.1.attn1.to_v.weight'
  wrong[name] = weights[name] + 0.01 * (np.arange(48) == 7)
  params = _params(wrong, cfg)
  error = float(jnp.abs(_run(case, cfg, params, tensors) - expected).max())
  assert error > TOLERANCE


def test_no_weight_may_be_another(fixture):
  cfg, tensors, weights = fixture
  expected = _frames(tensors['y_tokens'])
  flat = tree_lib.paths(_params(weights, cfg))
  for name, x in flat.items():
    wrong = np.copy(x)
    wrong.flat[-1] += 0.1
    params = tree_lib.nested(flat | {name: wrong})
    error = jnp.abs(_run('y_tokens', cfg, params, tensors) - expected).max()
    assert float(error) > TOLERANCE, name


@pytest.mark.parametrize('through', ['diffusers', 'wan'])
def test_round_trip_is_bit_equal(fixture, through):
  """diffusers -> cinejax -> either layout -> cinejax -> diffusers."""
  cfg, _, weights = fixture
  shapes = sizes.leaf_shapes(cfg)
  assert names.layout_of(weights) == 'diffusers'
  other = views.from_leaves(
    views.to_leaves(weights, 'diffusers', shapes), through
  )
  assert names.layout_of(other) == through
  assert len(other) == len(weights)
  back = views.from_leaves(views.to_leaves(other, through, shapes), 'diffusers')
  assert back.keys() == weights.keys()
  for name, x in weights.items():
    assert back[name].shape == x.shape and back[name].dtype == x.dtype
    np.testing.assert_array_equal(back[name][:], x)


def test_a_part_of_a_leaf_is_a_part_of_the_whole(fixture):
  cfg, _, weights = fixture
  leaves = views.to_leaves(weights, 'diffusers', sizes.leaf_shapes(cfg))
  for leaf in leaves.values():
    index = tuple(slice(n // 2, n) for n in leaf.shape)
    np.testing.assert_array_equal(read(leaf, index=index), read(leaf)[index])


def test_every_fault_is_listed_at_once(fixture):
  cfg, _, weights = fixture
  wrong = dict(weights)
  wrong['blocks.0.attn1.to_v.bias'] = np.zeros(3, np.float32)
  wrong['surplus'] = wrong.pop('proj_out.bias')
  with pytest.raises(UserError) as error:
    _params(wrong, cfg)
  for part in (
    'missing: proj_out.bias',
    'extra: surplus',
    'misshapen: blocks.0.attn1.to_v.bias is (3,), not (48,)',
  ):
    assert part in str(error.value)


def test_another_network_is_one_sentence(fixture):
  """It does not list all names, and image-to-video networks are recognized."""
  cfg, _, weights = fixture
  shapes = sizes.leaf_shapes(cfg)
  alien = {'conv1.weight': np.zeros(2), 'conv2.weight': np.zeros(2)}
  with pytest.raises(UserError, match=r'it has conv1\.weight and 1 more'):
    views.to_leaves(alien, 'cinejax', shapes)
  for layout, name in (
    ('wan', 'blocks.0.cross_attn.k_img.weight'),
    ('wan', 'img_emb.proj.0.bias'),
    ('diffusers', 'blocks.0.attn2.add_k_proj.weight'),
    ('diffusers', 'condition_embedder.image_embedder.norm1.bias'),
  ):
    leaves = views.to_leaves(weights, 'diffusers', shapes)
    theirs = views.from_leaves(leaves, layout) | {name: np.zeros(2)}
    with pytest.raises(UserError, match=f'image-to-video .*{name}.*--image'):
      views.to_leaves(theirs, layout, shapes)


def test_what_only_we_have_is_reported(fixture):
  cfg, _, weights = fixture
  leaves = views.to_leaves(weights, 'diffusers', sizes.leaf_shapes(cfg))
  table = {'positions': np.zeros((1, 1, 1, 16, 48), np.float32)}
  with pytest.raises(UserError, match='positions has no place'):
    views.from_leaves(leaves | table, 'wan')
  shapes = sizes.leaf_shapes(cfg) | {'positions': (1, 1, 1, 16, 48)}
  with pytest.raises(UserError, match='missing: positions'):
    views.to_leaves(weights, 'diffusers', shapes)


WAN_1_3B = {'layers': 30, 'heads': 12, 'head_features': 128}
WAN_1_3B |= {'mlp_features': 8960, 'time_features': 256, 'text_features': 4096}


def test_every_name_of_the_1_3b_model(fixture, fixtures):
  """The list is that of diffusers' model of the same size."""
  cfg = dataclasses.replace(fixture[0], **WAN_1_3B)
  path = fixtures / 'wan_transformer_1_3b_keys.txt'
  lines = [x for x in path.read_text().splitlines() if not x.startswith('#')]
  listed = {
    name: ast.literal_eval(shape)
    for name, shape, _ in (line.split('\t') for line in lines)
  }
  assert len(listed) == 825
  shapes = sizes.leaf_shapes(cfg)
  assert views.layout_shapes(shapes, 'diffusers') == listed


def test_names_are_those_of_wan(fixture):
  """The names are those of wan/modules/model.py, at 1.3B."""
  cfg = dataclasses.replace(fixture[0], **WAN_1_3B)
  wan = views.layout_shapes(sizes.leaf_shapes(cfg), 'wan')
  assert len(wan) == 825
  spots = {
    'patch_embedding.weight': (1536, 16, 1, 2, 2),
    'text_embedding.0.weight': (1536, 4096),
    'time_embedding.2.bias': (1536,),
    'time_projection.1.weight': (9216, 1536),
    'blocks.0.modulation': (1, 6, 1536),
    'blocks.0.self_attn.norm_q.weight': (1536,),
    'blocks.29.norm3.weight': (1536,),
    'blocks.29.cross_attn.o.weight': (1536, 1536),
    'blocks.29.ffn.0.weight': (8960, 1536),
    'blocks.29.ffn.2.weight': (1536, 8960),
    'head.head.weight': (64, 1536),
    'head.modulation': (1, 2, 1536),
  }
  assert {name: wan.get(name) for name in spots} == spots
