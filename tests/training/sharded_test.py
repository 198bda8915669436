"""Every program computes the same on eight devices as on one."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cinejax.bench import make_director
from cinejax.config import resolve
from cinejax.core.sharding import make_mesh
from cinejax.rollout.state import ChunkInput
from cinejax.training import planned
from configs import tiny

AXES = {'fsdp': 2, 'sequence': 2, 'tensor': 2}


def make_config(**changes):
  config = tiny.get_config()
  config.dit.heads = 4
  config.film.height, config.film.width = 32, 32
  config.init.grid = 4
  config.mesh.update(AXES)
  config.dmd.every = 1
  config.dmd.window = 2
  for name in config.stage:
    config.stage[name].batch = 2
  config.update_from_flattened_dict(changes)
  return resolve(config)


def filled(args):
  """Arrays for shapes, with the same values on every mesh."""

  def leaf(path, x):
    name = jax.tree_util.keystr(path)
    seed = sum(name.encode())
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
      value = jax.random.split(jax.random.key(seed), x.shape)
    elif jnp.issubdtype(x.dtype, jnp.floating):
      rng = np.random.default_rng(seed)
      scale = 1.0 if name.startswith('[2]') else 0.1
      value = (scale * rng.normal(size=x.shape)).astype(x.dtype)
      if 'scale' in name or 'std_C' in name:
        value = value + np.ones(x.shape, x.dtype)
      if 'mask' in name:
        value = np.ones(x.shape, x.dtype)
    elif x.dtype == jnp.uint8:  # video
      value = np.random.default_rng(seed).integers(
        256, size=x.shape, dtype='u1'
      )
    elif 'frame_BE' in name:
      value = np.full(x.shape, -1, x.dtype)
    else:
      value = np.zeros(x.shape, x.dtype)
    return jax.device_put(value, x.sharding)

  return jax.tree_util.tree_map_with_path(leaf, args)


def run(name, cfg, devices):
  axes = cfg.mesh if devices > 1 else type(cfg.mesh)(1, 1, 1, 1)
  mesh = make_mesh(axes, jax.devices()[:devices])
  # SGD: Adam's first step is a sign, which hides or blows up errors
  program = planned.abstract_program(name, cfg, mesh, optax.sgd(0.1))
  args = filled(program.args)
  before = jax.device_get(args[0])
  with jax.set_mesh(mesh):
    after, rest = program.fn(*args)
  return before, after, rest


def difference(many, one):
  """The difference of two trees, relative to the norm of `one`."""
  many, one = jax.device_get((many, one))
  apart = jax.tree.map(np.subtract, many, one)
  return float(optax.tree.norm(apart) / optax.tree.norm(one))


@pytest.mark.slow
@pytest.mark.parametrize(
  ('name', 'changes'),
  [
    ('codec', {}),
    ('base', {'memory.training': 'full', 'dit.remat': 'attention'}),
    ('base', {'memory.training': 'routed'}),
    ('base_bidirectional', {}),
    ('init', {'init.method': 'cd'}),
    ('init', {'init.method': 'ode'}),
    ('dmd', {}),
    ('tune', {}),
  ],
)
def test_an_update(name, changes):
  cfg = make_config(**changes)
  start, one, one_metrics = run(name, cfg, 1)
  _, many, many_metrics = run(name, cfg, 8)
  for metric in ('loss', 'grad_norm'):
    np.testing.assert_allclose(
      many_metrics[metric], one_metrics[metric], rtol=1e-5
    )
  # An update of SGD is the gradient times the learning rate.
  grads = [
    jax.tree.map(np.subtract, jax.device_get(state.params), start.params)
    for state in (many, one)
  ]
  assert difference(*grads) <= 1e-5
  assert difference(many.params, one.params) <= 1e-5
  if name == 'codec':  # whole on every device
    return
  distils = name in ('dmd', 'tune')
  network = many.params['student'] if distils else many.params
  kernel = network['blocks']['mlp_in']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (
    2, kernel.shape[1] // 4, kernel.shape[2] // 2
  )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize('commit', ['separate', 'fused'])
def test_a_rollout(commit):
  cfg = make_config(
    **{
      'rollout.commit': commit,
      'rollout.chunks_per_call': 3,
      'mesh.fsdp': 1,
      'mesh.data': 2,
    }
  )
  _, one, one_output = run('rollout', cfg, 1)
  _, many, output = run('rollout', cfg, 8)
  assert difference(output.latents_BFYXC, one_output.latents_BFYXC) <= 1e-5
  np.testing.assert_array_equal(output.frame_JLBR, one_output.frame_JLBR)
  assert difference(many.bank.memory, one.bank.memory) <= 1e-5
  data = many.bank.memory.key.data
  assert data.sharding.shard_shape(data.shape)[4] == 1  # of four heads


@pytest.mark.slow
def test_a_director_shares_a_pass_among_devices():
  frames = []
  for tensor in (1, 2):
    cfg = make_config(
      **{'mesh.fsdp': -1, 'mesh.sequence': tensor, 'mesh.tensor': tensor}
    )
    director = make_director(cfg)
    assert (director.mesh.size if director.mesh else 1) == tensor**2
    rng = np.random.default_rng(0)
    text = rng.normal(size=(1, cfg.text.words, cfg.text.features))
    chunk = ChunkInput(
      text_BWD=jnp.asarray(text, jnp.float32), cut_B=jnp.array([False])
    )
    outputs = director.stream(director.begin([3]), [chunk] * 2)
    latents = [output.latents_BFYXC for _, output in outputs]
    assert len(latents[0].sharding.device_set) == tensor**2
    frames.append(np.concatenate(list(director.decode(latents)), 1))
  apart = frames[0].astype(int) - frames[1].astype(int)
  assert np.abs(apart).max() <= 1
