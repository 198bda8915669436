"""Features of the frames of films: a table beside a data set.

  FILMS/features/*.safetensors    number of a film -> float16 [N F, A]

An image encoder computes them once (data_prep/features.py), one vector for the
last picture of each latent frame.
"""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import SupportsIndex

import numpy as np

from cinejax.core.errors import UserError
from cinejax.data import tables
from cinejax.data.sources import FeaturedFilm, LatentFilms


def folder(films: str | os.PathLike) -> pathlib.Path:
  """The folder of the table of the data set `films`."""
  return pathlib.Path(films) / 'features'


class FeatureTable:
  """The features of films, by the number of the film."""

  def __init__(self, films: str | os.PathLike):
    """Opens the table of a data set; UserError if a file is broken."""
    self.path = folder(films)
    files = tables.open_files(self.path, 'data_prep.features')
    self._file_of = {int(number): file for number, file in files.items()}

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
