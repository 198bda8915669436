"""Stages with adapters: what is trained, what is written, and resuming."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.models import lora
from cinejax.training import trainer
from cinejax.training.adaptation import adapted
from cinejax.training.config import LoraConfig
from cinejax.training.planned import abstract_program
from cinejax.training.program import Program
from configs import tiny
from tests.training.toys import stage_of, train_whole_and_resumed

LORA = LoraConfig(rank=2, alpha=4.0, targets='mlp_.*')


def seeing(loss_fn):
  """The toy's loss, of layers that find an adapter beside their kernel."""

  def merged(layer):
    if lora.DOWN not in layer:
      return layer
    change = layer[lora.DOWN] @ layer[lora.UP]
    return {**layer, 'kernel': layer['kernel'] + change}

  def seen(params, batch, key, given):
    params = {name: merged(layer) for name, layer in params.items()}
    return loss_fn(params, batch, key, given)

  return seen


@pytest.fixture
def stage(make_toy, tmp_path, monkeypatch):
  """A stage `base` that trains the toy from weights on disk."""
  toy = make_toy()
  # the toy's layers have no name in Wan
  monkeypatch.setattr(trainer, 'save_adapter', lambda *args: None)
  start = tmp_path / 'start.safetensors'
  save_tree(start, toy.init().params, {})

  def build(cfg, workdir):
    return Program(
      init_fn=lambda key: toy.init().params,
      loss_fn=seeing(toy.loss_fn),
      batches_fn=toy.batches,
      start={'': start},
    )

  settings = dataclasses.replace(
    toy.cfg.stage.base, lora=LORA, learning_rate=0.05
  )
  cfg = dataclasses.replace(
    toy.cfg,
    stage=dataclasses.replace(toy.cfg.stage, base=settings),
    train=dataclasses.replace(toy.cfg.train, weights_dtype='float32'),
  )
  return stage_of(build), cfg, toy, start


def test_an_adapter_is_trained_and_its_network_is_not(stage, tmp_path):
  stage, cfg, toy, start = stage
  trainer.run_stage(stage, cfg, tmp_path, toy.mesh)
  before, _ = load_tree(start)
  after, _ = load_tree(tmp_path / 'base.safetensors')
  changed = {
    name
    for name, x in tree_lib.paths(after).items()
    if (x != tree_lib.paths(before)[name]).any()
  }
  assert changed == {'mlp_in/kernel', 'mlp_out/kernel'}
  change = after['mlp_in']['kernel'] - before['mlp_in']['kernel']
  assert np.linalg.matrix_rank(change, tol=1e-5) == LORA.rank


def test_stopped_and_resumed_writes_the_same_adapter(stage, tmp_path):
  stage, cfg, toy, _ = stage
  train_whole_and_resumed(stage, cfg, toy.mesh, tmp_path)


def test_the_loss_gets_networks_with_their_adapters(make_toy):
  toy, seen = make_toy(), {}

  def loss_fn(params, batch, key, given):
    seen.update(params=params, given=given)
    return toy.loss_fn(params['student'], batch, key, given)

  two = {'student': toy.init().params, 'fake': toy.init().params}
  program = Program(
    init_fn=lambda key: {**two, 'head': {'kernel': jnp.ones(3)}},
    loss_fn=loss_fn,
    batches_fn=toy.batches,
    start={'student': 'a', 'fake': 'b'},
    ships='student',
  )
  with_adapters = adapted(program, LORA)
  params = jax.jit(with_adapters.init_fn)(jax.random.key(0))
  assert with_adapters.start == {} and set(params) == {
    'student',
    'fake',
    'head',
  }
  np.testing.assert_array_equal(params['head']['kernel'], np.ones(3))
  student, fake = params['student']['mlp_in'], params['fake']['mlp_in']
  assert set(student) == {lora.DOWN, lora.UP}
  assert (student[lora.DOWN] != fake[lora.DOWN]).any()
  given = {'plain student': two['student'], 'plain fake': two['fake']}
  given |= {'ema': params['student'], 'step': 0}
  batch = next(toy.batches(0))
  with_adapters.loss_fn(params, batch, jax.random.key(0), given)
  for tree in (seen['params']['student'], seen['given']['ema']):
    assert set(tree['mlp_in']) == {'kernel', 'bias', lora.DOWN, lora.UP}
  assert set(with_adapters.frozen) == {'plain student', 'plain fake'}


def test_an_adapter_without_weights_is_an_error(make_toy):
  toy = make_toy()
  program = Program(
    init_fn=lambda key: toy.init().params,
    loss_fn=toy.loss_fn,
    batches_fn=toy.batches,
  )
  with pytest.raises(UserError, match='needs weights to adapt'):
    adapted(program, LORA)


@pytest.mark.parametrize('name', ['base', 'tune'])
def test_the_plan_is_of_the_trained_program(name):
  """Masters, moments and averages of adapters; the networks frozen."""
  config = tiny.get_config()
  config.stage[name].lora.rank = 2
  cfg = resolve(config)
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  kinds = abstract_program(name, cfg, mesh).kinds
  whole = tree_lib.count(frozen_shapes(kinds))
  assert 0 < tree_lib.count(kinds['params']) < whole / 5
  assert tree_lib.count(kinds['ema']) <= tree_lib.count(kinds['params'])


def frozen_shapes(kinds):
  return {k: x for k, x in kinds['frozen'].items() if k.startswith('plain')}
