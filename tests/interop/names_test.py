"""Our DiT against diffusers' Wan transformer, on its own random weights."""

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from cinejax.core.errors import UserError
from cinejax.interop import names
from cinejax.memory import bank as bank_lib
from cinejax.memory import evict, router
from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig

FIXTURE = (
  pathlib.Path(__file__).resolve().parents[1]
  / 'fixtures'
  / 'fixture_wan_dit_tiny.safetensors'
)
TOLERANCE = 2e-5
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
    time_features=wan['freq_dim'],
    channels=wan['in_channels'],
    text_features=wan['text_dim'],
    epsilon=wan['eps'],
    compute_dtype='float32',
    remat='none',
    attention='xla',
  )
  tensors = load_file(FIXTURE)
  weights = {k[2:]: x for k, x in tensors.items() if k.startswith('w.')}
  like = jax.eval_shape(
    lambda key: denoiser.init_params(cfg, key), jax.random.key(0)
  )
  return cfg, tensors, weights, like


def _frames(x_1CFYX) -> jax.Array:
  return jnp.asarray(x_1CFYX).transpose(0, 2, 3, 4, 1)


def _whole(cfg, params, tensors, t_BSF) -> jax.Array:
  """One pass in which every frame sees every frame."""
  fn = jax.jit(denoiser.make_bidirectional_fn(cfg))
  text = jnp.asarray(tensors['txt'])[:, None]
  return fn(params, _frames(tensors['x'])[:, None], t_BSF, text)[:, 0]


def _by_chunks(cfg, params, tensors, t_F) -> jax.Array:
  """Chunk after chunk over a bank, each committed as it was denoised."""
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
  )
  fn = jax.jit(denoiser.make_denoise_fn(cfg, memory))
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
  cfg, tensors, weights, like = fixture
  params = names.from_diffusers(weights, like, cfg)
  expected = _frames(tensors[case])
  error = float(jnp.abs(_run(case, cfg, params, tensors) - expected).max())
  assert error <= TOLERANCE
  # The tolerance can fail: one weight a little off is seen.
  wrong = dict(weights)
  name = 'blocks.1.attn1.to_v.weight'
  wrong[name] = weights[name] + 0.01 * (np.arange(48) == 7)
  params = names.from_diffusers(wrong, like, cfg)
  error = float(jnp.abs(_run(case, cfg, params, tensors) - expected).max())
  assert error > TOLERANCE


def test_round_trip_is_bit_equal(fixture):
  cfg, _, weights, like = fixture
  back = names.to_diffusers(names.from_diffusers(weights, like, cfg), cfg)
  assert back.keys() == weights.keys()
  for name, x in weights.items():
    np.testing.assert_array_equal(back[name], x)


def test_every_fault_is_listed_at_once(fixture):
  cfg, _, weights, like = fixture
  wrong = dict(weights)
  wrong['blocks.0.attn1.to_v.bias'] = np.zeros(3, np.float32)
  wrong['surplus'] = wrong.pop('proj_out.bias')
  with pytest.raises(UserError) as error:
    names.from_diffusers(wrong, like, cfg)
  for part in ('missing: proj_out.bias', 'extra: surplus', 'to_v.bias is (3,)'):
    assert part in str(error.value)
