"""Films that a network directs, as a data set.

  python -m data_prep.directed --config=configs/story.py \\
    --weights=weights/story --config.data.films=runs/story/films \\
    --out=runs/story/directed [--films=N]

What the films of config.data.films say is said again, and the network makes
the film, as config.rollout and config.memory have it. So a teacher's films can
be what is real to an adversary, or what another network learns from, where
there are none of their own. A film's noise depends on config.seed and its
number alone.

A rerun keeps the parts that are there. Machine i of n adds --shard=i --shards=n
and may write to the same folder.
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from absl import flags

from cinejax import command
from cinejax.data.pipeline import check_frames
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.directing import batches
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director
from cinejax.film.journal import ChunkPrompt
from cinejax.interop.weights import locate
from cinejax.training.program import latent_films
from data_prep import films as films_lib
from data_prep import remake
from data_prep.encode import fingerprint

_BATCHES = 8  # of a part
_SEEDS = 1 << 20  # between the films of one config.seed and the next


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'File or folder.', required=True)
  flags.DEFINE_integer('batch', 8, 'Films made together.', lower_bound=1)
  remake.define_flags()


def main() -> None:
  args, cfg, shard = flags.FLAGS, command.config(), remake.shard()
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
  """As remake.write_parts, of films that the director makes again."""
  remake.write_parts(
    out,
    source,
    count,
    lambda films: direct_again(director, films, batch),
    batch=batch,
    part_films=batch * _BATCHES,
    frame_shape=director.cfg.frame_shape,
    shard=shard,
  )


def direct_again(
  director: Director, films: Sequence[LatentFilm], batch: int
) -> list[LatentFilm]:
  """These films, made by the director; the batch is filled up to `batch`."""
  for film in films:
    check_frames(film, director.cfg.film.frames_per_chunk)
  full = [*films, *films[-1:] * (batch - len(films))]
  longest = max(len(film.prompts) for film in films)
  said = [batches.hold_last_prompt(_said(film), longest) for film in full]
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
