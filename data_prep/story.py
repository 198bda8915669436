"""Makes a data set of story films: casts, renders, encodes and writes them.

  python -m data_prep.story --config=configs/story.py \\
    --weights=weights/story/codec.safetensors --out=runs/story/films

Films are written in parts of 512; a rerun keeps the parts that exist. With
`--kind` films are cast as in evaluation (eval, long, strict, minutes); give
another `--seed` to train on films of such a kind. `--beam` makes the parts in a
Beam pipeline (pip install cinejax[beam]), for data sets that are too large for
one process.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator

from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.config import Config
from cinejax.data.sources import LatentFilm
from cinejax.film.screenplay import chunk_prompts
from cinejax.film.timeline import Timeline
from cinejax.interop.weights import codec_files
from cinejax.story import world
from cinejax.story.casting import cast
from cinejax.story.config import EVALUATION_KINDS, KINDS
from cinejax.story.render import render_batch
from cinejax.story.steering import steered_prompts
from data_prep import films
from data_prep.encode import (
  Encode,
  fingerprint,
  load_encode,
)

_PART = 512  # films
_BATCH = 8  # films that are encoded together


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('weights', None, 'Weights of the codec.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films',
    None,
    'Number of films; default: config.story.films.',
    lower_bound=1,
  )
  # Latent films do not say which of their chunks are pictures.
  kinds = [kind for kind in KINDS if kind != 'pictures']
  flags.DEFINE_enum('kind', 'train', kinds, 'How the films are cast.')
  flags.DEFINE_integer(
    'seed',
    None,
    'Seed of the films; default: config.eval.seed for kinds of evaluation, '
    'config.story.seed for others.',
    lower_bound=0,
  )
  flags.DEFINE_bool(
    'steered',
    False,
    'Give the action of each frame beside the prompt instead of in it.',
  )
  flags.DEFINE_bool('beam', False, 'Make the parts with Apache Beam.')


@dataclasses.dataclass(frozen=True)
class StoryParts:
  """A function from the number of a part to its films.

  It can be pickled, and loads the codec in the process that calls it.
  """

  cfg: Config
  weights: str
  kind: str
  films: int  # in all parts
  given_seed: int | None = None
  steered: bool = False

  @property
  def seed(self) -> int:
    """The given seed, or one that keeps training and evaluation films apart."""
    if self.given_seed is not None:
      return self.given_seed
    is_evaluation = self.kind in EVALUATION_KINDS
    return self.cfg.eval.seed if is_evaluation else self.cfg.story.seed

  def numbers(self) -> range:
    """The numbers of the parts."""
    return range(-(-self.films // _PART))

  def __call__(self, part: int) -> Iterator[LatentFilm]:
    encode = load_encode(self.cfg.codec, self.weights)
    end = min(self.films, (part + 1) * _PART)
    for start in range(part * _PART, end, _BATCH):
      numbers = range(start, min(start + _BATCH, end))
      yield from make_films(
        self.cfg, encode, self.kind, self.seed, numbers, self.steered
      )


def make_films(
  cfg: Config,
  encode: Encode,
  kind: str,
  seed: int,
  numbers: range,
  steered: bool = False,
) -> list[LatentFilm]:
  """The films cast(kind, seed, number) as latents with prompts."""
  frames = cfg.film.frames_per_chunk
  cast_films = [
    cast(kind, seed, number).in_chunks_of(frames) for number in numbers
  ]
  timeline = Timeline(
    cfg.film.frames_per_chunk, cfg.codec.temporal_stride, cfg.film.fps
  )
  # All films are padded to one length, unless they are longer than usual, so
  # that the encoder compiles once.
  chunks = max(cfg.data.chunks, *(film.chunks for film in cast_films))
  videos = render_batch(cast_films, timeline.frames_per_chunk, timeline.stride)
  latents = encode(videos, timeline.pixel_frames(chunks))
  latent_films = []
  for number, film, z in zip(numbers, cast_films, latents, strict=True):
    prompts = chunk_prompts(
      film.screenplay(), cfg.film.cut_prefix, timeline.chunk_secs
    )
    if steered:
      prompts = steered_prompts(
        film, prompts, timeline.frames_per_chunk, timeline.stride
      )
    latent_films.append(films.latent_film(number, z, prompts))
  return latent_films


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  world.check_size(cfg.film, 'use a config of that size')
  parts = StoryParts(
    cfg,
    args.weights,
    args.kind,
    args.films or cfg.story.films,
    args.seed,
    args.steered,
  )
  # Errors about missing files come before anything is written.
  if args.beam:
    films.check_beam()
  load_encode(cfg.codec, args.weights)
  films.record_settings(args.out, _settings(parts))
  write = functools.partial(
    films.write_films, args.out, frame_shape=cfg.frame_shape
  )
  if args.beam:
    write('beam', make_part=parts, numbers=parts.numbers(), beam=True)
  else:
    _write_parts(parts, write)
  print(f'{parts.films} films in {args.out}')


def _write_parts(parts: StoryParts, write: Callable[..., bool]) -> None:
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task(f'{parts.kind} films', total=parts.films)

    def counted(part: int) -> Iterator[LatentFilm]:
      for film in parts(part):
        yield film
        progress.advance(task)

    for part in parts.numbers():
      if not write(f'part-{part:05d}', make_part=counted, numbers=[part]):
        progress.update(task, completed=min((part + 1) * _PART, parts.films))


def _settings(parts: StoryParts) -> dict[str, object]:
  cfg = parts.cfg
  return {
    'source': 'story',
    'kind': parts.kind,
    'seed': parts.seed,
    'films': parts.films,
    'steered': parts.steered,
    'cut_prefix': cfg.film.cut_prefix,
    'frames_per_chunk': cfg.film.frames_per_chunk,
    'temporal_stride': cfg.codec.temporal_stride,
    'codec': cfg.codec.name,
    'codec_weights': fingerprint(*codec_files(cfg.codec.name, parts.weights)),
  }


if __name__ == '__main__':
  define_flags()
  command.run(main)
