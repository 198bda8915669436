"""Bytes and FLOPs of a stage and of a rollout, counted without a device."""

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.training import planned
from configs import wan_1_3b
from tests.plans import make_config


def test_bytes_are_those_of_one_device():
  cfg = make_config(stage__base__optimizer='adamw')
  one, many = (
    planned.abstract_program('base', cfg, make_mesh(mesh, jax.devices()[:n]))
    for mesh, n in (
      (MeshConfig(1, 1, 1, 1), 1),
      (MeshConfig(1, 2, 2, 1), 4),
    )
  )
  count = planned.bytes_of(one.kinds['params'])
  leaves = jax.tree.leaves(one.kinds['params'])
  assert count == 4 * sum(np.prod(leaf.shape) for leaf in leaves)
  assert 2 * count < planned.bytes_of(one.kinds['optimizer']) < 2.01 * count
  # biases, norms and modulation are replicated
  assert count / 4 < planned.bytes_of(many.kinds['params']) < count / 2
  assert planned.bytes_of(many.kinds['batch']) == (
    planned.bytes_of(one.kinds['batch']) // 2
  )


def test_flops_are_those_of_the_layers():
  cfg = make_config(memory__training='full', stage__base__optimizer='adamw')
  dit, text = cfg.dit, cfg.text
  films, chunks, tokens = cfg.stage.base.batch, cfg.data.chunks, 3 * 16
  frames, d = 2 * chunks * 3, dit.features
  # query, key, value, out and cross-attention's query and out; mlp
  a_token = 2 * (6 * d * d + 2 * d * dit.mlp_features)
  a_token += 2 * 2 * text.words * d
  captions = 2 * 2 * d * d * text.words * chunks
  seen = 2 * sum(range(1, chunks + 1)) * tokens
  attention = 2 * 2 * tokens * seen * d
  layers = dit.layers * (2 * chunks * tokens * a_token + captions + attention)
  patch = 2 * (2 * chunks * tokens) * (2 * 2 * dit.channels) * d
  head = patch // 2
  time = 2 * frames * d * (dit.time_features + d + 6 * d)
  read = 2 * chunks * text.words * (text.features + d) * d
  forward = films * (layers + patch + head + time + read)
  # the first layers need no gradient of their input
  first = films * (
    patch
    + 2 * frames * d * dit.time_features
    + 2 * chunks * text.words * text.features * d
  )
  assert planned.count_flops('base', cfg, remat='none') == 3 * forward - first


@pytest.mark.slow
def test_computing_twice_is_counted_apart():
  cfg = make_config(dit__remat='full', stage__base__optimizer='adamw')
  model = planned.count_flops('base', cfg, remat='none')
  assert (
    1.2 * model < planned.count_flops('base', cfg, remat='full') < 1.4 * model
  )


@pytest.mark.parametrize('program', planned.PROGRAMS)
def test_heads_that_a_mesh_does_not_divide_are_a_sentence(program):
  mesh = make_mesh(MeshConfig(1, 1, 2, 2), jax.devices()[:4])
  with pytest.raises(UserError, match='heads is 2; it must be a multiple of'):
    planned.abstract_program(program, make_config(), mesh)


def test_a_rollout_is_counted_with_what_stays_beside_it():
  mesh = make_mesh(MeshConfig(1, 1, 2, 1), jax.devices()[:2])
  beside = planned.abstract_program(
    'rollout', resolve(wan_1_3b.get_config()), mesh
  ).beside
  # 5.68e9 parameters of umt5-xxl in bfloat16, with replicated norms
  assert planned.bytes_of(beside['text']) == pytest.approx(
    2 * 5.68e9 / 2, rel=1e-3
  )
  params, state = beside['codec']
  # the codec is replicated: 127 million parameters in float32
  assert planned.bytes_of(params) == pytest.approx(4 * 127e6, rel=0.01)
  assert planned.bytes_of(state) > 0
  tiny_beside = planned.abstract_program('rollout', make_config(), mesh).beside
  assert list(tiny_beside) == ['codec']
