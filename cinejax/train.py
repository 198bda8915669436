"""Trains the networks of a config, stage by stage.

  python -m cinejax.train --config=configs/story.py --workdir=runs/story

Finished stages are skipped and an interrupted one goes on where it was, so
the same command is also how a run is resumed. What it leaves in the workdir:
config.json, a weights file for each stage, metrics/, samples/, checkpoints/.
"""

import dataclasses
import json
import pathlib

from absl import flags

from cinejax import command
from cinejax.core.files import atomic_path
from cinejax.core.sharding import make_mesh
from cinejax.training import trainer
from cinejax.training.loop import Stopped

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)


def main() -> None:
  cfg = command.config()
  workdir = pathlib.Path(_WORKDIR.value)
  with atomic_path(workdir / 'config.json') as path:
    path.write_text(json.dumps(dataclasses.asdict(cfg), indent=2) + '\n')
  try:
    trainer.run(cfg, workdir, make_mesh(cfg.mesh))
  except Stopped as stopped:
    print(stopped)


if __name__ == '__main__':
  command.run(main)
