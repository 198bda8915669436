"""Data sets of latent films, which are read by number.

A source has a length and returns the example of any index, in any order and
from any thread, so that Grain can shuffle it without loading it.

`LatentFilms` reads the TensorFlow Datasets that `data_prep` writes, of story
films and of real clips alike, without TensorFlow.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np
import tensorflow_datasets as tfds

from cinejax.core.errors import UserError
from cinejax.core.files import read_json


@dataclasses.dataclass(frozen=True, eq=False)
class LatentFilm:
  """A film of N chunks of F latent frames, with a prompt for each chunk."""

  latents: np.ndarray  # [N F, Y, X, C], float16, about zero mean and unit std
  prompts: tuple[str, ...]  # of each chunk, cut prefix included
  cuts: np.ndarray  # [N], bool: True at the first chunk of a cut shot
  shots: np.ndarray  # [N], int32: the shot that a chunk belongs to
  film: int  # the film's number, unique within a data set


@dataclasses.dataclass(frozen=True, eq=False)
class TrajectoryFilm(LatentFilm):
  """A film with a teacher's ODE trajectories (data_prep/trajectories.py).

  `latents` are the past that a student reads.
  """

  points: np.ndarray  # [N F, 4, Y, X, C], float16: at the student's times
  end: np.ndarray  # [N F, Y, X, C], float16: at t = 0


@dataclasses.dataclass(frozen=True, eq=False)
class FeaturedFilm(LatentFilm):
  """A film with features of its frames (data/features.py)."""

  features: np.ndarray  # [N F, A], float16: of the last picture of each latent


class LatentFilms:
  """The films of every TFDS data set below a folder, in the order of paths.

  A data set may be written in parts (data_prep/films.py); they are read as one.
  """

  def __init__(self, path: str | os.PathLike):
    """Opens the folder `path`; UserError if it holds no finished part."""
    self.path = pathlib.Path(path)
    parts = _finished_parts(self.path)
    if not parts:
      raise UserError(
        f'{path} holds no films; write some with python -m data_prep.story '
        'or python -m data_prep.video'
      )
    self._builder = tfds.builder_from_directories([str(part) for part in parts])
    self._records = self._builder.as_data_source('train')

  def __len__(self) -> int:
    return len(self._records)

  def __getitem__(self, index: SupportsIndex) -> LatentFilm:
    return film_from_record(self._records[index])

  def __iter__(self) -> Iterator[LatentFilm]:
    return (self[index] for index in range(len(self)))

  def prompts(self) -> frozenset[str]:
    """All prompts of the films; latents are not decoded."""
    skip = {'latents': tfds.decode.SkipDecoding()}
    records = self._builder.as_data_source('train', decoders=skip)
    return frozenset(
      prompt.decode() for record in records for prompt in record['prompts']
    )

  def __repr__(self) -> str:
    return f'LatentFilms({str(self.path)!r}, films={len(self)})'


def read_settings(folder: str | os.PathLike) -> dict[str, Any]:
  """The settings that `data_prep` wrote the films with; {} if not noted."""
  return read_json(pathlib.Path(folder) / 'settings.json')


def casting_seeds(folder: str | os.PathLike) -> set[int]:
  """The seeds noted for the story films in `folder` and below it."""
  noted = map(read_json, pathlib.Path(folder).rglob('settings.json'))
  return {settings['seed'] for settings in noted if 'seed' in settings}


def film_from_record(record: dict[str, Any]) -> LatentFilm:
  """The film of a decoded TFDS example, whose texts are bytes."""
  fields = {
    'latents': record['latents'],
    'prompts': tuple(prompt.decode() for prompt in record['prompts']),
    'cuts': np.asarray(record['cuts'], bool),
    'shots': np.asarray(record['shots'], np.int32),
    'film': int(record['film']),
  }
  if 'points' not in record:
    return LatentFilm(**fields)
  return TrajectoryFilm(**fields, points=record['points'], end=record['end'])


def _finished_parts(path: pathlib.Path) -> list[pathlib.Path]:
  """The folders of data sets, without those that are still being written."""
  found = sorted(info.parent for info in path.rglob('dataset_info.json'))
  return [part for part in found if '.incomplete' not in part.name]
