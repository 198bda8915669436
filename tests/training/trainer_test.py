import dataclasses
import json

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core import topology
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.interop.tensors import load_tree
from cinejax.training import planned, stages, trainer
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.metrics import Work
from cinejax.training.program import Program
from configs import tiny
from tests.training.toys import stage_of, train_whole_and_resumed

TAEF2 = {
  'codec.name': 'taef2',
  'codec.temporal_stride': 1,
  'codec.channels': 32,
}


@pytest.fixture
def toy_stage(make_toy):
  """A stage `base` that trains the toy, the toy, and the calls of `build`."""
  toy, built = make_toy(), []

  def build(cfg, workdir):
    built.append(workdir)
    return Program(
      init_fn=lambda key: toy.init().params,
      loss_fn=toy.loss_fn,
      batches_fn=toy.batches,
    )

  return stage_of(build), toy, built


def test_a_stage_writes_its_average_with_its_history(toy_stage, tmp_path):
  stage, toy, _ = toy_stage
  trainer.run_stage(stage, toy.cfg, tmp_path, toy.mesh)
  params, metadata = load_tree(tmp_path / 'base.safetensors')
  with Checkpoints(tmp_path / 'checkpoints' / 'base', 2, {}) as checkpoints:
    state = checkpoints.restore(toy.abstract)
  for name in ('mlp_in', 'mlp_out'):
    np.testing.assert_array_equal(
      params[name]['kernel'], state.ema[name]['kernel'].astype('bfloat16')
    )
  assert metadata['steps'] == '4' and metadata['films_consumed'] == '32'
  config = json.loads(metadata['config'])
  assert config['stage']['base']['batch'] == 8


def test_stopped_and_resumed_writes_the_same_weights(toy_stage, tmp_path):
  stage, toy, _ = toy_stage
  one, other = train_whole_and_resumed(stage, toy.cfg, toy.mesh, tmp_path)
  assert one == other


def test_finished_stages_are_skipped(toy_stage, tmp_path, monkeypatch, capsys):
  stage, toy, built = toy_stage
  monkeypatch.setattr(stages, 'STAGES', (stage,))
  train = dataclasses.replace(toy.cfg.train, stages=('base',))
  cfg = dataclasses.replace(toy.cfg, train=train)
  waited = []
  monkeypatch.setattr(
    trainer.multihost_utils,
    'sync_global_devices',
    lambda name: waited.append((tmp_path / name).exists()),
  )
  trainer.run(cfg, tmp_path, toy.mesh)
  assert waited[-1]  # all hosts, for what the first one wrote
  trainer.run(cfg, tmp_path, toy.mesh)
  assert len(built) == 1
  assert 'base: done before' in capsys.readouterr().out


def test_a_batch_that_the_mesh_does_not_divide_is_an_error(make_toy, tmp_path):
  toy = make_toy(devices=8, fsdp=8)
  stage = dataclasses.replace(toy.cfg.stage.base, batch=12)
  settings = dataclasses.replace(toy.cfg.stage, base=stage)
  cfg = dataclasses.replace(toy.cfg, stage=settings)
  with pytest.raises(UserError, match='batch is 12; it must be a multiple'):
    trainer.run_stage(stages.find('base'), cfg, tmp_path, toy.mesh)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    ({'train.stages': ('coded',)}, 'names coded; it must be some of codec'),
    ({'train.stages': ('base',)}, 'there are no codec weights at'),
    ({'train.codec_weights': 'here'}, r'data\.films is empty'),
    ({**TAEF2, 'train.stages': ('codec',)}, 'comes trained'),
    # This is found before the codec is trained.
    ({'train.stages': ('codec', 'base')}, r'data\.films is empty'),
    ({'train.stages': ('codec', 'dmd')}, 'there are no base weights at'),
    (
      {'train.stages': ('codec',), 'train.codec_weights': 'gone'},
      r'train\.codec_weights is gone, which is not there',
    ),
  ],
)
def test_missing_weights_or_data_are_an_error(changes, sentence, tmp_path):
  config = tiny.get_config()
  config.train.stages = ('base',)
  config.update_from_flattened_dict(changes)
  if config.train.codec_weights == 'here':
    config.train.codec_weights = str(tmp_path / 'codec.safetensors')
    (tmp_path / 'codec.safetensors').touch()
  cfg = resolve(config)
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  with pytest.raises(UserError, match=sentence):
    trainer.run(cfg, tmp_path, mesh)
  assert not list(tmp_path.glob('config.json'))


def test_the_work_of_an_update_is_known_on_known_chips(monkeypatch):
  config = tiny.get_config()
  config.stage.base.optimizer = 'adamw'
  cfg = resolve(config)
  mesh = make_mesh(cfg.mesh, jax.devices()[:2])
  tokens = 2 * 3 * 3 * 16  # films, chunks, frames, tokens of one
  assert planned.work('base', cfg, mesh) == Work(tokens=tokens)
  assert planned.work('codec', cfg, mesh) == Work()
  monkeypatch.setattr(planned, 'count_flops', lambda *_, remat: 10)
  chip = topology.CHIPS[0]
  monkeypatch.setattr(planned, 'chip_of', lambda kind: chip)
  assert planned.work('base', cfg, mesh) == Work(tokens, 10, 2 * chip.flops)
