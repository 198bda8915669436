"""Trains the networks of a config, stage by stage.

  python -m cinejax.train --config=configs/story.py --workdir=runs/story \\
    --config.data.films=runs/story/films

Without films only the stage `codec` can be trained, whose codec encodes them
(--config.train.stages="('codec',)"; docs/training.md has the order). Finished
stages are skipped and an interrupted stage continues from its newest
checkpoint, so the same command also resumes a run. If it is started once on
every host with --coordinator, it trains on the devices of all hosts
(launch/tpu_pod.sh, launch/gpu_node.sh). It writes to the workdir: config.json,
a weights file for each stage, metrics/, samples/ and checkpoints/.
"""

import jax
from absl import flags

from cinejax import command
from cinejax.core.files import check_folder
from cinejax.core.sharding import make_mesh
from cinejax.training import trainer
from cinejax.training.stop import Stopped


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('workdir', None, 'Folder of the run.', required=True)
  flags.DEFINE_string(
    'profile',
    '',
    'FIRST:LAST, updates of each stage to trace, such as 10:12.',
  )
  flags.DEFINE_string(
    'coordinator',
    '',
    'HOST:PORT of the first of several processes; auto: found from Cloud TPU '
    'or Slurm; default: there is one process.',
  )
  flags.DEFINE_integer('processes', None, 'Number of processes.')
  flags.DEFINE_integer('process', None, 'Number of this process, from 0.')


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  workdir = check_folder(args.workdir)
  try:
    trainer.run(cfg, workdir, make_mesh(cfg.mesh), args.profile)
  except Stopped as stopped:
    print(stopped)


def join() -> None:
  """Connects this process to the others, if --coordinator is given."""
  args = flags.FLAGS
  if not args.coordinator:
    return
  # communication between processes on CPUs; other devices have their own
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  if args.coordinator == 'auto':
    jax.distributed.initialize()
  else:
    jax.distributed.initialize(args.coordinator, args.processes, args.process)


if __name__ == '__main__':
  define_flags()
  command.run(main, join)
