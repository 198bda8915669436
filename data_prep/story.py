"""Story films as a data set: cast, rendered, encoded, written.

  python -m data_prep.story --config=configs/story.py \\
    --weights=weights/story/codec.safetensors --out=runs/story/films

Films are written in parts of 512; a rerun keeps the parts that are there.
`--kind` makes evaluation films instead (eval, long, strict), with a `--seed` of
one's own films like them to train on. `--beam` runs the
parts as a Beam pipeline (pip install cinejax[beam]) for data too large for
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
_BATCH = 8  # films encoded together


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('weights', None, 'Of the codec.', required=True)
  flags.DEFINE_string('out', None, 'Folder to write to.', required=True)
  flags.DEFINE_integer(
    'films', None, 'How many; default: config.story.films.', lower_bound=1
  )
  flags.DEFINE_enum('kind', 'train', KINDS, 'How films are cast.')
  flags.DEFINE_integer(
    'seed',
    None,
    'Of the films; default: config.story.seed, or config.eval.seed for kinds '
    'that evaluation casts.',
    lower_bound=0,
  )
  flags.DEFINE_bool(
    'steered', False, 'Say what each frame does beside the prompt, not in it.'
  )
  flags.DEFINE_bool('beam', False, 'Make the parts with Apache Beam.')


@dataclasses.dataclass(frozen=True)
class StoryParts:
  """Part number -> its films; pickles, and loads the codec where it runs."""

  cfg: Config
  weights: str
  kind: str
  films: int  # in all parts
  given_seed: int | None = None
  steered: bool = False

  @property
  def seed(self) -> int:
    """Training films are never evaluation films."""
    if self.given_seed is not None:
      return self.given_seed
    is_evaluation = self.kind in EVALUATION_KINDS
    return self.cfg.eval.seed if is_evaluation else self.cfg.story.seed

  def numbers(self) -> range:
    """Of the parts."""
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
  """The films cast(kind, seed, number), as latents with their prompts."""
  frames = cfg.film.frames_per_chunk
  cast_films = [
    cast(kind, seed, number).in_chunks_of(frames) for number in numbers
  ]
  timeline = Timeline(
    cfg.film.frames_per_chunk, cfg.codec.temporal_stride, cfg.film.fps
  )
  # One compiled length for films of all lengths, unless they are very long.
  chunks = max(cfg.data.chunks, *(film.chunks for film in cast_films))
  videos = render_batch(cast_films, timeline.frames_per_chunk, timeline.stride)
  latents = encode(videos, timeline.pixel_frames(chunks))
  made = []
  for number, film, z in zip(numbers, cast_films, latents, strict=True):
    said = chunk_prompts(
      film.screenplay(), cfg.film.cut_prefix, timeline.chunk_secs
    )
    if steered:
      said = steered_prompts(
        film, said, timeline.frames_per_chunk, timeline.stride
      )
    made.append(films.latent_film(number, z, said))
  return made


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  world.check_size(cfg.film, 'give a config of that size')
  parts = StoryParts(
    cfg,
    args.weights,
    args.kind,
    args.films or cfg.story.films,
    args.seed,
    args.steered,
  )
  # what is missing is told before anything is written
  if args.beam:
    films.check_beam()
  load_encode(cfg.codec, args.weights)
  films.claim(args.out, _settings(parts))
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
