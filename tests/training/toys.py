"""Stages that train the toy network of conftest.py, and their interruption."""

import pathlib

import jax
import numpy as np

from cinejax.interop.tensors import load_tree
from cinejax.training import trainer
from cinejax.training.stage import Stage


def stage_of(build):
  """A stage `base` without a data set, whose program `build` returns."""
  return Stage(
    'base',
    consumes=lambda cfg: (),
    describe=lambda cfg, text: build(cfg, None),
    build=build,
    check_data=lambda cfg: None,
  )


def train_whole_and_resumed(stage, cfg, mesh, folder: pathlib.Path):
  """Trains the stage twice, once as if it was killed after update 2.

  Checks that both write the same weights.

  Returns:
    The metadata of both.
  """
  whole, part = folder / 'whole', folder / 'part'
  trainer.run_stage(stage, cfg, whole, mesh)
  trainer.run_stage(stage, cfg, part, mesh)
  (part / 'base.safetensors').unlink()
  for step in (part / 'checkpoints' / 'base').iterdir():
    if step.name != '2':
      step.rename(folder / step.name)
  trainer.run_stage(stage, cfg, part, mesh)
  (resumed, one), (expected, other) = (
    load_tree(path / 'base.safetensors') for path in (part, whole)
  )
  jax.tree.map(np.testing.assert_array_equal, resumed, expected)
  return one, other
