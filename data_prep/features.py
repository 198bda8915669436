"""Computes features of the pictures of a data set of films, for alignment.

  python -m data_prep.features --config=configs/wan_1_3b.py --films=FILMS \\
    --weights=CODEC --config.eval.features="('dinov2:DINO',)"

Films are decoded, and the encoder that config.eval.features names
(cinejax/evaluation/metrics/features.py) reads the last picture of each latent
frame. A base with --config.alignment.weight and --config.alignment.target=
features learns to predict them from its own features, which are read from
FILMS/features (cinejax/data/features.py); --config.alignment.features is their
number. A rerun computes those of new films. With --workers=N --worker=I a
process takes every N-th film; start one process for each device.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np
from absl import flags
from rich.console import Console
from rich.progress import Progress

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.data import features, tables
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.evaluation.metrics.features import Features, make_features
from cinejax.interop.weights import load_codec
from cinejax.models.codec.base import Codec, Params, to_bytes
from data_prep import films, workers

_FILE = 64  # films in a file


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('films', None, 'The data set.', required=True)
  flags.DEFINE_string('weights', None, "The codec's.", required=True)
  workers.define_flags()


def main() -> None:
  args, cfg = flags.FLAGS, command.config()
  own = workers.own_slice()
  names = cfg.eval.features
  if len(names) != 1:
    raise UserError(
      f'config.eval.features is {names}; name one encoder, whose features are '
      'stored'
    )
  source = LatentFilms(args.films)
  (encoder,) = make_features(names)
  pictures_fn = make_pictures(*load_codec(cfg.codec, args.weights))
  films.record_settings(features.folder(args.films), {'encoder': encoder.name})
  numbers = range(len(source))[own]
  done = 0
  with Progress(console=Console(stderr=True)) as progress:
    task = progress.add_task('films', total=len(numbers))
    name = f'worker-{args.worker:03d}'
    for count in compute(source, numbers, pictures_fn, encoder, name):
      done += count
      progress.update(task, completed=done)
  print(
    f'features of {done} films computed, {len(numbers) - done} were in '
    f'{features.folder(args.films)}'
  )


def compute(
  source: LatentFilms,
  numbers: Sequence[int],
  pictures_fn: Callable[[LatentFilm], np.ndarray],
  encoder: Features,
  name: str,
) -> Iterator[int]:
  """Computes the features of films and writes those that are not stored yet.

  Args:
    source: the data set.
    numbers: of the films in it.
    pictures_fn: film -> the last picture of each latent, uint8 [N F, Y, X, 3].
    encoder: its features are stored.
    name: of the files, which are NAME-00000.safetensors and so on.

  Yields:
    The number of films in each file that was written.
  """
  table = features.FeatureTable(source.path)
  missing = (
    film
    for film in (source[number] for number in numbers)
    if film.film not in table
  )
  named = (
    table.path / f'{name}-{number:05d}.safetensors'
    for number in itertools.count()
  )
  files = (file for file in named if not file.exists())
  while group := list(itertools.islice(missing, _FILE)):
    found = {str(film.film): encoder.of(pictures_fn(film)) for film in group}
    tables.write(next(files), found)
    yield len(found)


def make_pictures(
  codec: Codec, params: Params
) -> Callable[[LatentFilm], np.ndarray]:
  """Makes a function that decodes the last picture of each latent frame.

  It decodes a film chunk by chunk, so that its length does not matter.
  """
  stride = codec.temporal_stride
  decode = jax.jit(codec.decode_chunk, static_argnums=3)

  def pictures_fn(film: LatentFilm) -> np.ndarray:
    chunks = len(film.prompts)
    z_NFYXC = film.latents.astype(np.float32)
    z_NFYXC = z_NFYXC.reshape(chunks, 1, -1, *z_NFYXC.shape[1:])
    state = codec.init_decode(params, (1, *z_NFYXC.shape[3:]))
    pictures = []
    for number, z_BFYXC in enumerate(z_NFYXC):
      video_BTYXC, state = decode(params, z_BFYXC, state, number == 0)
      # the first latent of a film holds one picture, every other `stride`
      last = 0 if number == 0 else stride - 1
      pictures.append(np.asarray(to_bytes(video_BTYXC[0, last::stride])))
    return np.concatenate(pictures)

  return pictures_fn


if __name__ == '__main__':
  define_flags()
  command.run(main)
