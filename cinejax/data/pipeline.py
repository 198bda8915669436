"""Makes the batches of one process from a source of examples.

The order of films is one infinite sequence, fixed by source and seed:

  source -> shuffle (again in each epoch) -> repeat                         (1)

An update after `consumed` films takes the films [consumed, consumed + batch) of
(1), and process p of n takes the p-th of n equal parts. So the number of films
consumed is the only state of the data, and it means the same for every number
of processes: after a restart with it, the next batch is the one that would have
followed.

Threads or processes of Grain prepare batches a few updates ahead.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain.python as grain
import numpy as np

from cinejax.core.errors import UserError
from cinejax.data.sources import FeaturedFilm, LatentFilm, TrajectoryFilm

Batch = dict[str, np.ndarray]
EncodeText = Callable[[Sequence[str]], np.ndarray]

_ENDLESS = 2**48  # examples; Grain's own infinity overflows when batched
_READ = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


def make_batches(
  source: Sequence[LatentFilm],
  encode_text: EncodeText,
  *,
  chunks: int,
  frames_per_chunk: int,
  batch: int,
  seed: int,
  films_consumed: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """Endless training batches of latent films; this process's rows of each.

  Args:
    source: films, by number.
    encode_text: n prompts -> float32 [n, W, text features].
    chunks: N; longer films lose their end, shorter ones are padded with zeros
      at the end.
    frames_per_chunk: F of every film.
    batch: films of an update, over all processes.
    seed: of the order.
    films_consumed: films of earlier updates, over all processes.
    process_index: the number of this process.
    process_count: the number of processes.

  Yields:
    `latents` float32 [B, N F, Y, X, C], `text` float32 [B, N, W, features],
    `mask` float32 [B, N], 1 where a chunk is real and 0 where it is padding,
    and `shots` int32 [B, N], -1 in padding; B is batch divided by
    process_count. Trajectories also have `points` [B, N F, 4, Y, X, C] and
    `end` [B, N F, Y, X, C], featured films `features` [B, N F, A], float32.

  Raises:
    UserError: if the batch does not divide over the processes, or a film has
      another F.
  """

  def example(film: LatentFilm) -> Batch:
    return fit_film(film, encode_text, chunks, frames_per_chunk)

  return _batches(
    source, example, batch, seed, films_consumed, process_index, process_count
  )


def make_clip_batches(
  source: Sequence[np.ndarray],
  *,
  batch: int,
  seed: int,
  clips_consumed: int = 0,
  process_index: int = 0,
  process_count: int = 1,
) -> Iterator[Batch]:
  """Endless batches for the codec: `video` uint8 [B, T, Y, X, 3].

  Arguments are those of `make_batches`, counted in clips.
  """

  def example(video_TYXC: np.ndarray) -> Batch:
    return {'video': video_TYXC}

  return _batches(
    source, example, batch, seed, clips_consumed, process_index, process_count
  )


def make_endless_batches(
  source: Sequence[Batch],
  *,
  batch: int,
  films_consumed: int = 0,
  process_index: int = 0,
  process_count: int = 1,
  workers: int = 0,
) -> Iterator[Batch]:
  """Batches of an endless source of rows (story/films.py), in its own order.

  Arguments are those of `make_batches`; rows may be nested dicts of arrays.
  The rows are computed by `workers` processes, which requires a source that can
  be pickled, or by threads of this process if it is 0; they are the same.
  """
  rows = _rows(batch, process_count)
  order = grain.MapDataset.source(source)
  blocks = order[films_consumed : films_consumed + _ENDLESS].batch(rows)
  batches = blocks[process_index::process_count].to_iter_dataset(_READ)
  if workers:
    batches = batches.mp_prefetch(grain.MultiprocessingOptions(workers))
  return iter(batches)


def fit_film(
  film: LatentFilm,
  encode_text: EncodeText,
  chunks: int,
  frames_per_chunk: int,
) -> Batch:
  """One row of a batch: the film cut or padded to `chunks` chunks."""
  check_frames(film, frames_per_chunk)
  real = min(chunks, len(film.prompts))
  latents = film.latents[: real * frames_per_chunk].astype(np.float32)
  text = encode_text(film.prompts[:real])
  row = {
    'latents': _pad(latents, chunks * frames_per_chunk),
    'text': _pad(text, chunks),
    'mask': _pad(np.ones(real, np.float32), chunks),
    'shots': _pad(film.shots[:real], chunks, -1),
  }
  if isinstance(film, TrajectoryFilm):
    for name in ('points', 'end'):
      array = getattr(film, name)[: real * frames_per_chunk]
      row[name] = _pad(array.astype(np.float32), chunks * frames_per_chunk)
  if isinstance(film, FeaturedFilm):
    features = film.features[: real * frames_per_chunk].astype(np.float32)
    row['features'] = _pad(features, chunks * frames_per_chunk)
  return row


def check_frames(film: LatentFilm, frames_per_chunk: int) -> None:
  """Raises UserError unless the film has chunks of `frames_per_chunk`."""
  frames = len(film.prompts) * frames_per_chunk
  if film.latents.shape[0] != frames:
    raise UserError(
      f'film {film.film} has {film.latents.shape[0]} latent frames for '
      f'{len(film.prompts)} chunks; config.film.frames_per_chunk = '
      f'{frames_per_chunk} needs {frames}'
    )


def _pad(array: np.ndarray, length: int, value: int = 0) -> np.ndarray:
  """`array`, padded with `value` at the end of its first axis."""
  missing = length - array.shape[0]
  widths = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
  return np.pad(array, widths, constant_values=value)


def _batches(
  source: Sequence[Any],
  example_fn: Callable[[Any], Batch],
  batch: int,
  seed: int,
  consumed: int,
  process_index: int,
  process_count: int,
) -> Iterator[Batch]:
  """Endless batches of example_fn(item), in the order of (1)."""
  rows = _rows(batch, process_count)
  order = grain.MapDataset.source(source).shuffle(seed).repeat()
  # Slices of blocks, not of films: a batch's rows keep their order on any
  # number of processes.
  blocks = order[consumed : consumed + _ENDLESS].map(example_fn).batch(rows)
  mine = blocks[process_index::process_count]
  return iter(mine.to_iter_dataset(_READ))


def _rows(batch: int, process_count: int) -> int:
  """Rows of a batch in each process; UserError unless they are equally many."""
  rows, rest = divmod(batch, process_count)
  if rest or not rows:
    raise UserError(
      f'a batch of {batch} does not divide over {process_count} processes; '
      'make config.stage.*.batch a multiple of them'
    )
  return rows
