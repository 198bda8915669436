import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec

from cinejax.config import resolve
from cinejax.core import sharding, tree
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from configs import tiny


def make_mesh(data=1, fsdp=-1, sequence=1, tensor=1):
  return sharding.make_mesh(MeshConfig(data, fsdp, sequence, tensor))


def test_minus_one_takes_the_rest():
  mesh = make_mesh(fsdp=-1, tensor=2)
  assert dict(mesh.shape) == {'data': 1, 'fsdp': 4, 'sequence': 1, 'tensor': 2}
  assert set(mesh.axis_types) == {AxisType.Auto}


def test_mesh_over_given_devices():
  one = sharding.make_mesh(MeshConfig(1, -1, 1, 1), jax.devices()[:1])
  assert one.size == 1


@pytest.mark.parametrize(
  'axes',
  [{'tensor': 3}, {'fsdp': 4}, {'fsdp': -1, 'data': -1}, {'fsdp': 0}],
)
def test_a_mesh_that_does_not_divide_is_a_user_error(axes):
  with pytest.raises(UserError, match=r'config\.mesh is data='):
    make_mesh(**axes)


def test_every_parameter_matches_one_row():
  cfg = resolve(tiny.get_config())
  mesh = make_mesh(fsdp=4, tensor=2)
  key = jax.random.key(0)
  dit = jax.eval_shape(lambda: denoiser.init_params(cfg.dit, key))
  specs = tree.paths(
    jax.tree.map(lambda s: s.spec, sharding.param_shardings(dit, mesh))
  )
  split = ('fsdp', 'sequence')
  assert specs['blocks/mlp_in/kernel'] == PartitionSpec(None, split, 'tensor')
  assert specs['blocks/mlp_out/kernel'] == PartitionSpec(None, 'tensor', split)
  assert not any(specs['blocks/modulation'])
  codec = jax.eval_shape(lambda: make_codec(cfg.codec).init(key))
  for leaf in jax.tree.leaves(sharding.param_shardings(codec, mesh)):
    assert leaf.is_fully_replicated


def test_moments_are_split_like_their_parameters():
  tree_of_copies = {'mu': {'head': {'kernel': jnp.zeros((8, 4))}}}
  mesh = make_mesh(fsdp=4, tensor=2)
  found = sharding.param_shardings(tree_of_copies, mesh)
  assert found['mu']['head']['kernel'].spec == PartitionSpec(
    ('fsdp', 'sequence'), 'tensor'
  )


def test_dimensions_that_axes_do_not_divide_are_not_split():
  params = {'head': {'kernel': jnp.zeros((6, 4))}}
  found = sharding.param_shardings(params, make_mesh(fsdp=4, tensor=2))
  assert found['head']['kernel'].spec == PartitionSpec(None, 'tensor')


def test_unknown_and_ambiguous_paths_are_refused():
  params = {'odd': {'kernel': jnp.zeros((6, 4))}}
  with pytest.raises(ValueError, match='odd/kernel must match one row'):
    sharding.param_shardings(params, make_mesh())
  rules = (('odd/kernel', ()), ('.*kernel', ()))
  with pytest.raises(ValueError, match='must match one row'):
    sharding.param_shardings(params, make_mesh(), rules)


def test_constrain_with_and_without_a_mesh():
  x = jnp.zeros((8, 6))
  constrain = lambda x: sharding.constrain(x * 1, ('data', 'fsdp'), 'tensor')  # noqa: E731
  np.testing.assert_array_equal(constrain(x), x)
  mesh = make_mesh(fsdp=2, tensor=4)
  with jax.set_mesh(mesh):
    y = jax.jit(constrain)(x)
  # six columns do not divide over four devices
  assert y.sharding.shard_shape(y.shape) == (4, 6)


@pytest.mark.parametrize(
  ('sizes', 'hosts', 'parts'),
  [
    # two hosts of four: each has its own films
    ((1, 4, 2, 1), 2, [(0, 2), (1, 2)]),
    # a film is shared by both hosts, which feed the same rows
    ((1, 1, 8, 1), 2, [(0, 1), (0, 1)]),
    # four hosts of two, in pairs that share films
    ((1, 2, 4, 1), 4, [(0, 2), (0, 2), (1, 2), (1, 2)]),
  ],
)
def test_processes_feed_the_rows_of_their_devices(
  sizes, hosts, parts, monkeypatch
):
  devices = np.array(
    [types.SimpleNamespace(process_index=i * hosts // 8) for i in range(8)]
  )
  mesh = types.SimpleNamespace(
    empty=False,
    shape=dict(zip(sharding.AXES, sizes, strict=True)),
    devices=devices.reshape(sizes),
  )
  monkeypatch.setattr(jax.sharding, 'get_mesh', lambda: mesh)
  monkeypatch.setattr(jax, 'process_count', lambda: hosts)
  for process, part in enumerate(parts):
    monkeypatch.setattr(jax, 'process_index', lambda process=process: process)
    assert sharding.batch_part() == part


@pytest.mark.parametrize(
  ('sizes', 'hosts', 'parts'),
  [
    ((1, 8, 1, 1), [0, 2, 0, 3, 1, 3, 1, 2], [(p, 4) for p in range(4)]),
    ((2, 2, 2, 1), [0, 1, 2, 3, 1, 0, 3, 2], [(p // 2, 2) for p in range(4)]),
  ],
)
def test_films_of_a_host_are_contiguous(sizes, hosts, parts):
  # neighbours on a torus are often devices of several hosts
  devices = np.array([types.SimpleNamespace(process_index=p) for p in hosts])
  shape = dict(zip(sharding.AXES, sizes, strict=True))
  apart, beside = (
    types.SimpleNamespace(shape=shape, devices=arranged)
    for arranged in (
      devices.reshape(sizes),
      sharding._by_host(devices.reshape(sizes)),
    )
  )
  with pytest.raises(UserError, match='hold the rows'):
    sharding.part_of(apart, 0)
  assert [sharding.part_of(beside, process) for process in range(4)] == parts


def test_rows_that_are_not_an_equal_part_are_a_user_error(monkeypatch):
  # three films over two hosts of three devices, each with half of one
  devices = [types.SimpleNamespace(process_index=i // 3) for i in range(6)]
  mesh = types.SimpleNamespace(
    empty=False,
    shape=dict(zip(sharding.AXES, (1, 3, 2, 1), strict=True)),
    devices=np.array(devices).reshape(1, 3, 2, 1),
  )
  monkeypatch.setattr(jax.sharding, 'get_mesh', lambda: mesh)
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(UserError, match='make config'):
    sharding.batch_part()
