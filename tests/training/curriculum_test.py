"""A base that trains in two phases, on films painted during training."""

import dataclasses
import pathlib
import shutil

import jax
import numpy as np
import pytest

import configs
from cinejax import config as config_lib
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.interop.archive import open_archive
from cinejax.training import trainer
from configs import story

WEIGHTS = pathlib.Path(__file__).parents[2] / 'weights/story'


def _cfg():
  config = story.get_config('curriculum')
  config.dit.update(
    {'layers': 1, 'heads': 2, 'head_features': 8, 'mlp_features': 16}
  )
  config.alignment.layers = (0,)
  config.data.chunks = 2
  config.train.stages = ('base',)
  config.train.codec_weights = str(WEIGHTS / 'codec.safetensors')
  config.train.update({'save_every_steps': 1, 'keep_checkpoints': 9})
  config.train.update({'probe_every_steps': 0, 'sample_every_steps': 0})
  one, two = (
    {'film.frames_per_chunk': frames, 'story.kinds': (('dense', 1.0),)}
    for frames in (1, 3)
  )
  config.stage.base.batch = 2
  config.stage.base.phases = (
    configs.phase('frames', 2, one),
    configs.phase('chunks', 2, two),
  )
  return config_lib.resolve(config)


def _weights(folder):
  tensors = open_archive(folder / 'base.safetensors').tensors
  return {name: tensor[...] for name, tensor in tensors.items()}


@pytest.mark.slow
def test_a_run_resumed_within_a_phase_gives_the_same_weights(tmp_path):
  cfg = _cfg()
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  whole, again = tmp_path / 'whole', tmp_path / 'again'
  trainer.run(cfg, whole, mesh)
  shutil.copytree(whole, again)
  (again / 'base.safetensors').unlink()
  shutil.rmtree(again / 'checkpoints/base/4')
  trainer.run(cfg, again, mesh)
  expected = _weights(whole)
  for name, array in _weights(again).items():
    np.testing.assert_array_equal(array, expected[name])


def test_films_of_evaluation_are_refused(tmp_path):
  cfg = _cfg()
  cfg = dataclasses.replace(
    cfg, story=dataclasses.replace(cfg.story, seed=cfg.eval.seed)
  )
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  with pytest.raises(UserError, match='no training may see'):
    trainer.run(cfg, tmp_path, mesh)
