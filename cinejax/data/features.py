"""Features of the frames of films: a table beside a data set.

  FILMS/features/*.safetensors    number of a film -> float16 [N F, A]

An image encoder computes them once (data_prep/features.py), one vector for the
last picture of each latent frame. Files are written atomically and never
changed, so that several writers can work at once and an interrupted one can
continue.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import SupportsIndex

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.data.sources import FeaturedFilm, LatentFilms


def folder(films: str | os.PathLike) -> pathlib.Path:
  """The folder of the table of the data set `films`."""
  return pathlib.Path(films) / 'features'


class FeatureTable:
  """The features of films, by the number of the film."""

  def __init__(self, films: str | os.PathLike):
    """Opens the table of a data set; UserError if a file is broken."""
    self.path = folder(films)
    self._file_of = {
      int(number): file for file in _open(self.path) for number in file.keys()
    }

  def __contains__(self, film: int) -> bool:
    return film in self._file_of

  def __getitem__(self, film: int) -> np.ndarray:
    """Features [N F, A], float16; UserError if the table lacks the film."""
    if film not in self._file_of:
      raise UserError(
        f'{self.path} lacks features of film {film}; run python -m '
        'data_prep.features'
      )
    return self._file_of[film].get_tensor(str(film))


class FeaturedFilms:
  """The films of a data set with their features; a source as LatentFilms."""

  def __init__(self, films: LatentFilms, features: int):
    """Opens the table beside `films`.

    Args:
      films: the films.
      features: A, which the features must have.

    Raises:
      UserError: if the first film has no features, or others than A.
    """
    self._films, self._table = films, FeatureTable(films.path)
    found = self[0].features.shape[1]
    if found != features:
      raise UserError(
        f'{self._table.path} holds {found} features of a frame; '
        f'config.alignment.features is {features}'
      )

  def __len__(self) -> int:
    return len(self._films)

  def __getitem__(self, index: SupportsIndex) -> FeaturedFilm:
    film = self._films[index]
    fields = {
      field.name: getattr(film, field.name)
      for field in dataclasses.fields(film)
    }
    return FeaturedFilm(**fields, features=self._table[film.film])

  def __iter__(self) -> Iterator[FeaturedFilm]:
    return (self[index] for index in range(len(self)))

  def __repr__(self) -> str:
    return f'FeaturedFilms({self._films!r})'


def write(path: pathlib.Path, features: Mapping[int, np.ndarray]) -> None:
  """Writes a file of the table.

  Args:
    path: the file to write.
    features: number of a film -> float [N F, A].
  """
  stored = {
    str(film): np.ascontiguousarray(x, np.float16)
    for film, x in features.items()
  }
  with atomic_path(path) as partial:
    save_file(stored, partial)


def _open(path: pathlib.Path) -> list[safe_open]:
  """The files of the table; UserError if one is broken."""
  files = []
  for file in sorted(path.glob('*.safetensors')):
    try:
      files.append(safe_open(file, 'np'))
    except (SafetensorError, OSError) as error:
      raise UserError(
        f'{file} is not a whole safetensors file ({error}); delete it, and run '
        'python -m data_prep.features again'
      ) from error
  return files
