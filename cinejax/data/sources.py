"""Films by number: what a training run reads, whoever wrote it.

A source has a length and gives one example for each index, in any order and
from any thread, so that Grain can shuffle it without holding it.

`LatentFilms` reads the TensorFlow Datasets written by `data_prep` (story
films and real clips alike) without TensorFlow.
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
  """One film as the model sees it: N chunks of F latent frames."""

  latents: np.ndarray  # [N F, Y, X, C], float16, about zero mean and unit std
  prompts: tuple[str, ...]  # of each chunk, cut prefix included
  cuts: np.ndarray  # [N], bool: True at the first chunk of a cut shot
  shots: np.ndarray  # [N], int32: the shot that a chunk belongs to
  film: int  # its number, unique within a data set


@dataclasses.dataclass(frozen=True, eq=False)
class TrajectoryFilm(LatentFilm):
  """A film with a teacher's ODE over it (data_prep/trajectories.py).

  `latents` are the past that a student sees.
  """

  points: np.ndarray  # [N F, 4, Y, X, C], float16: at the student's times
  end: np.ndarray  # [N F, Y, X, C], float16


class LatentFilms:
  """The films of every TFDS data set below a folder, in order of path.

  A data set may be written in parts (see data_prep/films.py); they are read
  as one. Raises UserError when the folder holds no finished part.
  """

  def __init__(self, path: str | os.PathLike):
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
    """All that is said in them; latents are not decoded for it."""
    skip = {'latents': tfds.decode.SkipDecoding()}
    records = self._builder.as_data_source('train', decoders=skip)
    return frozenset(
      prompt.decode() for record in records for prompt in record['prompts']
    )

  def __repr__(self) -> str:
    return f'LatentFilms({str(self.path)!r}, films={len(self)})'


def made_with(folder: str | os.PathLike) -> dict[str, Any]:
  """How the films in it were made, as `data_prep` noted; {} if it did not."""
  return read_json(pathlib.Path(folder) / 'settings.json')


def seeds_below(folder: str | os.PathLike) -> set[int]:
  """Those that the films in it and below were cast with, where noted."""
  noted = map(read_json, pathlib.Path(folder).rglob('settings.json'))
  return {settings['seed'] for settings in noted if 'seed' in settings}


def film_from_record(record: dict[str, Any]) -> LatentFilm:
  """A decoded TFDS example (text as bytes) as a film."""
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
  """Folders with a data set, less those of a writer that was stopped."""
  found = sorted(info.parent for info in path.rglob('dataset_info.json'))
  return [part for part in found if '.incomplete' not in part.name]
