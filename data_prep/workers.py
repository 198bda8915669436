"""Divides the work of a command between several processes."""

from absl import flags

from cinejax.core.errors import UserError


def define_flags() -> None:
  """Defines --worker and --workers."""
  flags.DEFINE_integer(
    'worker', 0, 'Number of this process, from 0.', lower_bound=0
  )
  flags.DEFINE_integer('workers', 1, 'Number of processes.', lower_bound=1)


def own_slice() -> slice:
  """The part of a list of work that belongs to this process.

  Raises UserError if there is no such worker.
  """
  worker, workers = flags.FLAGS.worker, flags.FLAGS.workers
  if worker >= workers:
    raise UserError(
      f'--worker is {worker}; it must be less than --workers={workers}'
    )
  return slice(worker, None, workers)
