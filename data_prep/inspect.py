"""Describes a data set of films.

  python -m data_prep.inspect --films=runs/story/films

Counts and lengths are of all films. Statistics of latents are of at most
`--sample` films, spread over the data set; every channel should have a mean
near 0 and a standard deviation near 1.
"""

import collections
import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from absl import flags

from cinejax import command
from cinejax.data.sources import LatentFilm, LatentFilms, read_settings


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('films', None, 'The data set.', required=True)
  flags.DEFINE_integer('show', 2, 'Films to print.', lower_bound=0)
  flags.DEFINE_integer(
    'sample', 256, 'Films whose latents are measured.', lower_bound=1
  )


def describe(source: LatentFilms, sample: int, show: int) -> Iterator[str]:
  """Yields the lines of the description."""
  yield from _counts(source)
  step = -(-len(source) // sample)
  yield from _statistics([source[i] for i in range(0, len(source), step)])
  for film in itertools.islice(source, show):
    yield from _film(film)


def main() -> None:
  args = flags.FLAGS
  source = LatentFilms(args.films)
  for name, value in read_settings(args.films).items():
    print(f'{name:18}{value}')
  for line in describe(source, args.sample, args.show):
    print(line)


def _counts(source: LatentFilms) -> Iterator[str]:
  shapes, chunks, frames = (collections.Counter() for _ in range(3))
  shots, cuts, prompts = 0, 0, set()
  for film in source:
    shapes[film.latents.shape[1:]] += 1
    chunks[len(film.prompts)] += 1
    frames[len(film.latents) / len(film.prompts)] += 1
    shots += int(film.shots[-1]) + 1
    cuts += int(film.cuts.sum())
    prompts.update(film.prompts)
  yield f'{"films":18}{len(source)}'
  yield f'{"latent frame":18}{_listed(shapes)} (rows, columns, channels)'
  yield f'{"frames a chunk":18}{_listed(frames)}'
  yield f'{"chunks a film":18}{_listed(chunks)}'
  yield f'{"shots":18}{shots}'
  yield f'{"cuts":18}{cuts}'
  yield f'{"different prompts":18}{len(prompts)}'


def _statistics(films: Sequence[LatentFilm]) -> Iterator[str]:
  latents = np.concatenate(
    [film.latents.reshape(-1, film.latents.shape[-1]) for film in films]
  ).astype(np.float64)
  mean_C, std_C = latents.mean(0), latents.std(0)
  yield (
    f'{"latents":18}mean {latents.mean():+.3f}, std {latents.std():.3f}, '
    f'from {latents.min():.2f} to {latents.max():.2f} ({len(films)} films)'
  )
  yield f'{"mean of channels":18}{mean_C.min():+.3f} to {mean_C.max():+.3f}'
  yield f'{"std of channels":18}{std_C.min():.3f} to {std_C.max():.3f}'


def _film(film: LatentFilm) -> Iterator[str]:
  yield ''
  yield f'film {film.film}: latents {film.latents.shape}'
  for chunk, (prompt, cut, shot) in enumerate(
    zip(film.prompts, film.cuts, film.shots, strict=True)
  ):
    mark = '|' if cut else ' '
    yield f'  {mark} chunk {chunk:2}  shot {shot}  {prompt}'


def _listed(counter: collections.Counter) -> str:
  """The values in ascending order, with their counts if there are several."""
  if len(counter) == 1:
    return str(next(iter(counter)))
  return ', '.join(f'{value} ({n}x)' for value, n in sorted(counter.items()))


if __name__ == '__main__':
  define_flags()
  command.run(main)
