"""Makes a data set of films that a network directs.

  python -m data_prep.directed --config=configs/story.py \\
    --weights=weights/story --config.data.films=runs/story/films \\
    --out=runs/story/directed [--films=N]

The network makes every film of config.data.films again, from the same prompts
and cuts, with the settings of config.rollout and config.memory. Films of a
teacher can then serve as real films for an adversary, or train another network,
if there is no other data. The noise of a film depends only on config.seed and
on the number of the film.

A rerun keeps the parts that exist. Machine i of n adds --shard=i --shards=n and
may write to the same folder.
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
from cinejax.training.films import latent_films
from data_prep import films as films_lib
from data_prep import remake
from data_prep.encode import fingerprint

_BATCHES = 8  # in a part
_SEEDS = 1 << 20  # distance between the noise seeds of successive config.seed


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('weights', None, 'A file or a folder.', required=True)
  flags.DEFINE_integer('batch', 8, 'Films rolled out together.', lower_bound=1)
  remake.define_flags()


def main() -> None:
  args, cfg, shard = flags.FLAGS, command.config(), remake.shard()
  source, director = latent_films(cfg), load_director(cfg, args.weights)
  count = min(args.films or len(source), len(source))
  weights = locate(args.weights, cfg.rollout.weights)
  films_lib.record_settings(
    args.out,
    {
      'source': 'directed',
      'of': cfg.data.films,
      'films': count,
      'batch': args.batch,  # parts hold whole batches
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
  """Writes a data set of films that the director makes again.

  See remake.write_parts.
  """
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
  """The same films with latents that the director generates.

  Raises UserError if films have another number of frames per chunk.

  Args:
    director: makes the films.
    films: at most `batch` of them.
    batch: films that are rolled out together; the last one fills up a batch.
  """
  for film in films:
    check_frames(film, director.cfg.film.frames_per_chunk)
  full = [*films, *films[-1:] * (batch - len(films))]
  longest = max(len(film.prompts) for film in films)
  prompts = [batches.hold_last_prompt(_prompts(film), longest) for film in full]
  state = director.begin(
    [director.cfg.seed * _SEEDS + film.film for film in full]
  )
  chunks = map(director.chunk_input, zip(*prompts, strict=True))
  latents = [
    output.latents_BFYXC for _, output in director.stream(state, chunks)
  ]
  z_BFYXC = np.concatenate(jax.device_get(latents), 1).astype(np.float16)
  return [
    dataclasses.replace(film, latents=z_FYXC[: len(film.latents)])
    for film, z_FYXC in zip(films, z_BFYXC, strict=False)
  ]


def _prompts(film: LatentFilm) -> tuple[ChunkPrompt, ...]:
  return tuple(
    ChunkPrompt(prompt, segment=int(shot), shot=int(shot), cut=bool(cut))
    for prompt, shot, cut in zip(
      film.prompts, film.shots, film.cuts, strict=True
    )
  )


if __name__ == '__main__':
  define_flags()
  command.run(main)
