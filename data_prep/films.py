"""Writes latent films as TensorFlow Datasets, without TensorFlow.

A data set is a folder of parts. Each part is an ordinary TFDS data set in
array_record format and appears atomically:

  OUT/films/<part>/1.0.0/films-train.array_record-00000-of-00001
  OUT/settings.json     how all parts were made

Parts that exist are kept, so an interrupted writer continues where it stopped.
`cinejax.data.sources.LatentFilms` reads all parts as one data set. With Beam,
the workers of a pipeline make the films, which become the shards of one part.
"""

import contextlib
import dataclasses
import importlib.util
import io
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from cinejax.core.errors import UserError
from cinejax.core.files import check_folder, write_or_compare
from cinejax.data.sources import LatentFilm
from cinejax.film.screenplay import ChunkPrompt

MakePart = Callable[[int], Iterable[LatentFilm]]  # number of a part -> films


@dataclasses.dataclass(eq=False)
class FilmsConfig(tfds.core.BuilderConfig):
  """Settings of one part, or with `beam` of all; `name` is its folder."""

  frame_shape: tuple[int, int, int] = (1, 1, 1)  # Y, X, C of a latent frame
  points: int = 0  # of the trajectory of each film; 0 = no trajectories
  make_part: MakePart | None = None
  parts: tuple[int, ...] = ()  # numbers for make_part
  beam: bool = False


class Films(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """A TFDS builder of the films that `builder_config.make_part` makes."""

  VERSION = tfds.core.Version('1.0.0')
  # Nothing is downloaded. Without this, TFDS would look for a list of checksums
  # with a package that it does not declare (importlib_resources).
  url_infos = None

  def _info(self) -> tfds.core.DatasetInfo:
    return tfds.core.DatasetInfo(
      builder=self,
      description='Films as codec latents, with the prompt of each chunk.',
      features=film_features(
        self.builder_config.frame_shape, self.builder_config.points
      ),
      disable_shuffling=True,  # films stay in order; Grain shuffles
    )

  def _split_generators(self, dl_manager) -> dict[str, Any]:
    del dl_manager  # nothing to download
    return {'train': self._generate_examples(self.builder_config)}

  def _generate_examples(self, config: FilmsConfig):
    if config.beam:
      return _beam_examples(config)  # a PTransform: TFDS runs the pipeline
    return (pair for part in config.parts for pair in _examples(config, part))


def film_features(
  frame_shape: tuple[int, int, int],
  points: int = 0,
) -> tfds.features.FeaturesDict:
  """The features of a LatentFilm, or with `points` of a TrajectoryFilm.

  Both are defined in cinejax.data.sources.
  """

  def per_frame(*shape: int) -> tfds.features.Tensor:
    # As raw bytes, because TFDS writes single floats nine times more slowly.
    return tfds.features.Tensor(
      shape=(None, *shape), dtype=np.float16, encoding='bytes'
    )

  features = {
    'latents': per_frame(*frame_shape),
    'prompts': tfds.features.Sequence(tfds.features.Text()),
    'cuts': tfds.features.Sequence(np.bool_),
    'shots': tfds.features.Sequence(np.int32),
    'film': np.int64,
  }
  if points:
    features['points'] = per_frame(points, *frame_shape)
    features['end'] = per_frame(*frame_shape)
  return tfds.features.FeaturesDict(features)


def latent_film(
  number: int, latents: np.ndarray, prompts: Sequence[ChunkPrompt]
) -> LatentFilm:
  """A film from its latents and the prompt of each chunk."""
  return LatentFilm(
    latents=latents,
    prompts=tuple(chunk.prompt for chunk in prompts),
    cuts=np.array([chunk.cut for chunk in prompts], bool),
    shots=np.array([chunk.shot for chunk in prompts], np.int32),
    film=number,
  )


def write_films(
  out: str | os.PathLike,
  part: str,
  frame_shape: tuple[int, int, int],
  make_part: MakePart,
  numbers: Sequence[int],
  *,
  beam: bool = False,
  points: int = 0,
) -> bool:
  """Writes `OUT/films/<part>`; returns False if it exists already.

  Args:
    out: the data set's folder.
    part: name of the part.
    frame_shape: rows, columns and channels of a latent frame.
    make_part: makes the films of a number; can be pickled if `beam`.
    numbers: the numbers whose films form this part.
    beam: whether a Beam pipeline makes the films; call check_beam() before.
    points: if not 0, films are TrajectoryFilms with as many points.
  """
  config = FilmsConfig(
    name=part,
    frame_shape=frame_shape,
    points=points,
    make_part=make_part,
    parts=tuple(numbers),
    beam=beam,
  )
  with _quiet_tfds():
    builder = Films(
      data_dir=os.fspath(out), config=config, file_format='array_record'
    )
    folder = pathlib.Path(builder.data_dir)
    if folder.exists():
      return False
    for interrupted in folder.parent.glob(f'{folder.name}.incomplete*'):
      shutil.rmtree(interrupted)
    builder.download_and_prepare(download_config=_download_config(beam))
  return True


def check_beam() -> None:
  """Raises UserError if Apache Beam is not installed."""
  if importlib.util.find_spec('apache_beam') is None:
    raise UserError("--beam needs Apache Beam; pip install 'cinejax[beam]'")


def is_written(out: str | os.PathLike, part: str) -> bool:
  """Whether `OUT/films/<part>` exists."""
  return (pathlib.Path(out) / Films.name / part / str(Films.VERSION)).exists()


def record_settings(out: str | os.PathLike, settings: dict[str, Any]) -> None:
  """Writes `OUT/settings.json`, which says how all parts were made.

  Raises UserError if the folder holds films that were made with other
  settings, or cannot be written to.
  """
  changed = write_or_compare(check_folder(out) / 'settings.json', settings)
  if changed:
    name, before, now = changed
    raise UserError(
      f'{out} holds films made with {name} = {before}, not {now}; choose '
      'another --out or delete it'
    )


def _examples(
  config: FilmsConfig, part: int
) -> Iterator[tuple[int, dict[str, Any]]]:
  for film in config.make_part(part):
    record = {
      'latents': np.asarray(film.latents, np.float16),
      'prompts': list(film.prompts),
      'cuts': np.asarray(film.cuts, bool),
      'shots': np.asarray(film.shots, np.int32),
      'film': film.film,
    }
    if config.points:
      record['points'] = np.asarray(film.points, np.float16)
      record['end'] = np.asarray(film.end, np.float16)
    yield film.film, record


def _beam_examples(config: FilmsConfig):
  import apache_beam as beam  # an optional dependency

  return beam.Create(config.parts) | beam.FlatMap(
    lambda part: list(_examples(config, part))
  )


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
  """Silences TFDS; our commands show their own progress."""
  verbosity = logging.get_verbosity()
  logging.set_verbosity(logging.ERROR)
  tfds.disable_progress_bar()
  try:
    with contextlib.redirect_stdout(io.StringIO()):
      yield
  finally:
    logging.set_verbosity(verbosity)


def _download_config(beam: bool) -> tfds.download.DownloadConfig:
  if not beam:
    return tfds.download.DownloadConfig()
  return tfds.download.DownloadConfig(beam_runner='DirectRunner')
