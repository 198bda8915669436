"""Films that a network directs, as a data set.

  python -m data_prep.directed --config=configs/story.py \\
    --weights=weights/story --config.data.films=runs/story/films \\
    --out=runs/story/directed [--films=N]

What the films of config.data.films say is said again, and the network makes
the film, as config.rollout and config.memory have it. So a teacher's films can
be what is real to an adversary, or what another network learns from, where
there are none of their own. A film's noise depends on config.seed and its
number alone.

Films are written in parts of whole batches; a rerun keeps the parts that are
there. Machine i of n adds --shard=i --shards=n and may write to the same
folder.
"""

import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command, takes
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.director import Director, load_director
from cinejax.film.journal import ChunkPrompt
from cinejax.interop.weights import locate
from cinejax.training.program import latent_films
from data_prep import films as films_lib
from data_prep.encode import fingerprint, frame_shape

_BATCHES = 8  # of a part
_SEEDS = 1 << 20  # between the films of one config.seed and the next


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer('films', None, 'How many; default: all.', lower_bound=1)
  flags.DEFINE_integer('batch', 8, 'Films made together.', lower_bound=1)
  flags.DEFINE_integer('shard', 0, 'Which of the shards.', lower_bound=0)
  flags.DEFINE_integer('shards', 1, 'Between machines.', lower_bound=1)


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  if args.shard >= args.shards:
    raise UserError(
      f'--shard={args.shard} of --shards={args.shards}: they count from 0'
    )
  source, director = latent_films(cfg), load_director(cfg, args.weights)
  count = min(args.films or len(source), len(source))
  weights = locate(args.weights, cfg.rollout.weights)
  films_lib.claim(
    args.out,
    {
      'source': 'directed',
      'of': cfg.data.films,
      'films': count,
      'batch': args.batch,  # parts are of whole ones
      'noise': cfg.seed,
      'director': fingerprint(weights),
      'rollout': dataclasses.asdict(cfg.rollout),
      'memory': dataclasses.asdict(cfg.memory),
    },
  )
  shard = (args.shard, args.shards)
  write_parts(director, source, count, args.batch, args.out, shard)
  print(f'{count} films in {args.out}')


def write_parts(
  director: Director,
  source: LatentFilms,
  count: int,
  batch: int,
  out: str,
  shard: tuple[int, int] = (0, 1),
) -> None:
  """Writes the parts of `shard` (which, of how many) that are not there.

  `count` are the films of all shards.
  """
  size = batch * _BATCHES
  parts = range(shard[0], -(-count // size), shard[1])
  spans = {
    part: range(count)[part * size : (part + 1) * size] for part in parts
  }
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task('films', total=sum(map(len, spans.values())))

    def make_part(part: int) -> Iterator[LatentFilm]:
      for start in range(0, len(spans[part]), batch):
        group = [source[i] for i in spans[part][start : start + batch]]
        yield from direct_again(director, group, batch)
        progress.advance(task, len(group))

    for part in parts:
      films_lib.write_films(
        out, f'part-{part:05d}', frame_shape(director.cfg), make_part, [part]
      )


def direct_again(
  director: Director, films: Sequence[LatentFilm], batch: int
) -> list[LatentFilm]:
  """These films, made by the director; the batch is filled up to `batch`."""
  full = [*films, *films[-1:] * (batch - len(films))]
  longest = max(len(film.prompts) for film in films)
  said = [takes.hold(_said(film), longest) for film in full]
  state = director.begin(
    [director.cfg.seed * _SEEDS + film.film for film in full]
  )
  chunks = map(director.chunk_input, zip(*said, strict=True))
  made = [output.latents_BFYXC for _, output in director.stream(state, chunks)]
  z_BFYXC = np.concatenate(jax.device_get(made), 1).astype(np.float16)
  return [
    dataclasses.replace(film, latents=z_FYXC[: len(film.latents)])
    for film, z_FYXC in zip(films, z_BFYXC, strict=False)
  ]


def _said(film: LatentFilm) -> tuple[ChunkPrompt, ...]:
  return tuple(
    ChunkPrompt(prompt, segment=int(shot), shot=int(shot), cut=bool(cut))
    for prompt, shot, cut in zip(
      film.prompts, film.shots, film.cuts, strict=True
    )
  )


if __name__ == '__main__':
  define_flags()
  command.run(main)
