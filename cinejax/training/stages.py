"""The stages of a training run.

A stage is finished when its weights file exists, which is written whole at its
end. Until then its checkpoints hold its progress.
"""

import pathlib
from collections.abc import Sequence

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.training import (
  base_stage,
  codec_stage,
  distillation,
  initialisation,
  phases,
)
from cinejax.training.program import weights_path
from cinejax.training.stage import Stage

STAGES: tuple[Stage, ...] = (
  codec_stage.CODEC,
  base_stage.CAUSAL,
  base_stage.BIDIRECTIONAL,
  initialisation.INIT,
  distillation.DMD,
  distillation.TUNE,
)


def find(name: str) -> Stage:
  """The stage of that name; UserError if there is none."""
  for stage in STAGES:
    if stage.name == name:
      return stage
  known = ', '.join(stage.name for stage in STAGES)
  raise UserError(
    f'config.train.stages names {name}; it must be some of {known}'
  )


def check(todo: Sequence[Stage], cfg: Config, workdir: pathlib.Path) -> None:
  """Checks that every stage will find its weights and data.

  It is called before anything is trained. Raises UserError if a stage needs
  weights that neither exist nor are trained by a stage before it, or data that
  do not exist.
  """
  trained: set[str] = set()
  for stage in todo:
    for name in stage.consumes(cfg):
      if name not in trained:
        weights_path(cfg, workdir, name)
    path = stage.weights_key and getattr(cfg.train, stage.weights_key)
    if path and not pathlib.Path(path).exists():
      raise UserError(
        f'config.train.{stage.weights_key} is {path}, which is not there'
      )
    for phase in phases.split(cfg, stage.name):
      stage.check_data(phase.cfg)
    trained.add(stage.name)
