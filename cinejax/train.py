"""Trains the networks of a config, stage by stage.

  python -m cinejax.train --config=configs/story.py --workdir=runs/story \\
    --config.data.films=runs/story/films

Without films only the stage `codec` can be trained, which is what films are
made with (--config.train.stages="('codec',)"; README.md has the order).
Finished stages are skipped and an interrupted one goes on where it was, so
the same command is also how a run is resumed. Started once on every host with
--coordinator, it trains on the devices of all of them (launch/tpu_pod.sh,
launch/gpu_node.sh). What it leaves in the workdir:
config.json, a weights file for each stage, metrics/, samples/, checkpoints/.
"""

import jax
from absl import flags

from cinejax import command
from cinejax.core.files import check_folder
from cinejax.core.sharding import make_mesh
from cinejax.training import trainer
from cinejax.training.stop import Stopped

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Folder of the run.', required=True
)


_PROFILE = flags.DEFINE_string(
  'profile', '', 'FIRST:LAST, updates of each stage to trace, such as 10:12.'
)


_COORDINATOR = flags.DEFINE_string(
  'coordinator',
  '',
  'HOST:PORT of the first of several processes; auto: as Cloud TPU or Slurm '
  'say; default: this process is alone.',
)
_PROCESSES = flags.DEFINE_integer('processes', None, 'How many there are.')
_PROCESS = flags.DEFINE_integer('process', None, 'Which this one is, from 0.')


def main() -> None:
  cfg, workdir = command.config(), check_folder(_WORKDIR.value)
  try:
    trainer.run(cfg, workdir, make_mesh(cfg.mesh), _PROFILE.value)
  except Stopped as stopped:
    print(stopped)


def join() -> None:
  """Makes this process one of those of --coordinator."""
  if not _COORDINATOR.value:
    return
  # between processes on CPUs; other devices bring their own
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  if _COORDINATOR.value == 'auto':
    jax.distributed.initialize()
  else:
    jax.distributed.initialize(
      _COORDINATOR.value, _PROCESSES.value, _PROCESS.value
    )


if __name__ == '__main__':
  command.run(main, join)
