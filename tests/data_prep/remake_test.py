"""Data sets made from others: which machine makes which films."""

import dataclasses

import numpy as np
import pytest

from cinejax.data.sources import LatentFilm, LatentFilms
from data_prep import remake

FILMS = [
  LatentFilm(
    latents=np.full((3, 2, 2, 16), number, np.float16),
    prompts=(f'Ada runs {number}',),
    cuts=np.array([False]),
    shots=np.array([0], np.int32),
    film=number,
  )
  for number in range(10, 17)
]


@pytest.fixture
def make(tmp_path):
  """make(shard) -> the groups of film numbers that it remade."""

  def made(shard):
    groups = []

    def double(films):
      groups.append([film.film for film in films])
      return [dataclasses.replace(f, latents=2 * f.latents) for f in films]

    remake.write_parts(
      tmp_path, FILMS, 6, double, batch=2, part_films=4,
      frame_shape=(2, 2, 16), shard=shard,
    )  # fmt: skip
    return groups

  return made


def test_each_machine_makes_its_own_parts_once(make, tmp_path):
  assert make((1, 2)) == [[14, 15]]  # of the second part what is asked for
  assert make((0, 2)) == [[10, 11], [12, 13]]
  assert make((0, 1)) == []
  found = list(LatentFilms(tmp_path))
  assert [film.film for film in found] == [10, 11, 12, 13, 14, 15]
  for film in found:
    np.testing.assert_array_equal(
      film.latents, np.full_like(film.latents, 2 * film.film)
    )
