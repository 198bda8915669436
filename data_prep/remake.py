"""Makes a data set from another one, film by film and in parts.

A rerun keeps the parts that exist, machine i of n makes every n-th part, and
at most one batch of films is in memory at a time.
"""

import os
from collections.abc import Callable, Iterator, Sequence

from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilm, LatentFilms
from data_prep import films as films_lib

# at most a batch of films -> a new film for each
Remake = Callable[[Sequence[LatentFilm]], Sequence[LatentFilm]]


def define_flags() -> None:
  """Defines the flags of commands that make a data set from another one."""
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films', None, 'Number of films; default: all.', lower_bound=1
  )
  flags.DEFINE_integer(
    'shard', 0, 'Number of this machine, from 0.', lower_bound=0
  )
  flags.DEFINE_integer('shards', 1, 'Number of machines.', lower_bound=1)


def shard() -> tuple[int, int]:
  """--shard and --shards; raises UserError if there is no such shard."""
  args = flags.FLAGS
  if args.shard >= args.shards:
    raise UserError(
      f'--shard is {args.shard}; it must be less than --shards={args.shards}'
    )
  return args.shard, args.shards


def write_parts(
  out: str | os.PathLike,
  source: LatentFilms,
  count: int,
  remake: Remake,
  *,
  batch: int,
  part_films: int,
  frame_shape: tuple[int, int, int],
  shard: tuple[int, int] = (0, 1),
  points: int = 0,
) -> None:
  """Writes the parts of one shard that do not exist yet.

  Args:
    out: the new data set's folder.
    source: the films to make it from.
    count: number of films to use, over all shards.
    remake: makes new films from `batch` films, or fewer at the end of a part.
    batch: films per call.
    part_films: films of a part, a multiple of `batch`.
    frame_shape: rows, columns and channels of a latent frame.
    shard: (which, of how many); every so many parts belong to it.
    points: see `films.write_films`.
  """
  parts = range(shard[0], -(-count // part_films), shard[1])
  spans = {
    part: range(count)[part * part_films : (part + 1) * part_films]
    for part in parts
  }
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task('films', total=sum(map(len, spans.values())))

    def make_part(part: int) -> Iterator[LatentFilm]:
      for start in range(0, len(spans[part]), batch):
        group = [source[i] for i in spans[part][start : start + batch]]
        yield from remake(group)
        progress.advance(task, len(group))

    for part in parts:
      name = f'part-{part:05d}'
      if not films_lib.write_films(
        out, name, frame_shape, make_part, [part], points=points
      ):
        progress.advance(task, len(spans[part]))
