"""Latent films as TensorFlow Datasets, written without TensorFlow.

A data set is a folder of parts, each an ordinary TFDS data set in
array_record format that appears whole or not at all:

  OUT/films/<part>/1.0.0/films-train.array_record-00000-of-00001
  OUT/settings.json     how every part was made

A part that exists is kept, so that a stopped writer continues where it was.
`cinejax.data.sources.LatentFilms` reads all parts as one. With Beam, the parts
are made by a pipeline's workers and written as the shards of a single one.
"""

import contextlib
import dataclasses
import importlib.util
import io
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from absl import logging

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, check_folder
from cinejax.data.sources import LatentFilm, made_with
from cinejax.film.screenplay import ChunkPrompt

MakePart = Callable[[int], Iterable[LatentFilm]]


@dataclasses.dataclass(eq=False)
class FilmsConfig(tfds.core.BuilderConfig):
  """One part, or with `beam` all of them; `name` is the part's folder."""

  frame_shape: tuple[int, int, int] = (1, 1, 1)  # Y, X, C of a latent frame
  points: int = 0  # of a trajectory over each film; 0 = none
  make_part: MakePart | None = None  # part's number -> its films
  parts: tuple[int, ...] = ()  # the parts to write
  beam: bool = False


class Films(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """Writes the films that `builder_config.make_part` makes."""

  VERSION = tfds.core.Version('1.0.0')
  # Nothing is downloaded. TFDS would look for a list of checksums beside this
  # file, by way of a package that it does not declare (importlib_resources).
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
  """The record of cinejax.data.sources.LatentFilm, or with `points` of
  TrajectoryFilm."""

  def per_frame(*shape: int) -> tfds.features.Tensor:
    # Raw bytes: TFDS otherwise writes a float at a time, nine times slower.
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
  number: int, latents: np.ndarray, said: Sequence[ChunkPrompt]
) -> LatentFilm:
  """A film from its latents and what its screenplay says of each chunk."""
  return LatentFilm(
    latents=latents,
    prompts=tuple(chunk.prompt for chunk in said),
    cuts=np.array([chunk.cut for chunk in said], bool),
    shots=np.array([chunk.shot for chunk in said], np.int32),
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
  """Writes `OUT/films/<part>`; False if it was there already.

  Args:
    out: the data set's folder.
    part: name of the part.
    frame_shape: rows, columns and channels of a latent frame.
    make_part: gives the films of a number; must pickle when `beam`.
    numbers: the numbers whose films make up this part.
    beam: make them in a Beam pipeline, which check_beam() allows.
    points: if not 0, films are TrajectoryFilms of so many.
  """
  config = FilmsConfig(
    name=part,
    frame_shape=frame_shape,
    points=points,
    make_part=make_part,
    parts=tuple(numbers),
    beam=beam,
  )
  with _quietly():
    builder = Films(
      data_dir=os.fspath(out), config=config, file_format='array_record'
    )
    folder = pathlib.Path(builder.data_dir)
    if folder.exists():
      return False
    for stopped in folder.parent.glob(f'{folder.name}.incomplete*'):
      shutil.rmtree(stopped)
    builder.download_and_prepare(download_config=_download_config(beam))
  return True


def check_beam() -> None:
  """Raises UserError where Apache Beam is not installed."""
  if importlib.util.find_spec('apache_beam') is None:
    raise UserError("--beam needs Apache Beam; pip install 'cinejax[beam]'")


def is_written(out: str | os.PathLike, part: str) -> bool:
  """Whether `OUT/films/<part>` is there."""
  return (pathlib.Path(out) / Films.name / part / str(Films.VERSION)).exists()


def claim(out: str | os.PathLike, settings: dict[str, Any]) -> None:
  """Writes `OUT/settings.json`; UserError if it says something else.

  Parts made in another way must not end up in one data set. A UserError too
  where nothing can be written.
  """
  path = check_folder(out) / 'settings.json'
  if found := made_with(out):
    for name in sorted(settings.keys() | found.keys()):
      if found.get(name) != settings.get(name):
        raise UserError(
          f'{out} holds films made with {name} = {found.get(name)}, not '
          f'{settings.get(name)}; choose another --out or delete it'
        )
    return
  with atomic_path(path) as partial:
    partial.write_text(json.dumps(settings, indent=2) + '\n')


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
  import apache_beam as beam  # an optional extra

  return beam.Create(config.parts) | beam.FlatMap(
    lambda part: list(_examples(config, part))
  )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
  """Without TFDS's own words: our commands show their own progress."""
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
