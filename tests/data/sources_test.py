"""Data sets: records as films, and what is noted beside them."""

import json

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.data import sources

RECORD = {
  'latents': np.zeros((6, 2, 2, 1), np.float16),
  'prompts': [b'ada walks', 'cut to: Zo\u00eb runs'.encode()],
  'cuts': np.array([0, 1]),
  'shots': np.array([0, 1], np.int64),
  'film': np.int64(7),
}


def test_a_record_is_a_film():
  film = sources.film_from_record(RECORD)
  assert type(film) is sources.LatentFilm and film.film == 7
  assert film.prompts == ('ada walks', 'cut to: Zo\u00eb runs')
  assert film.cuts.tolist() == [False, True] and film.shots.dtype == np.int32


def test_a_record_with_points_is_a_trajectory():
  points = np.zeros((6, 4, 2, 2, 1), np.float16)
  record = RECORD | {'points': points, 'end': points[:, 0]}
  film = sources.film_from_record(record)
  assert isinstance(film, sources.TrajectoryFilm)
  assert film.points.shape[1] == 4 and film.end.shape == film.latents.shape


def test_settings_and_seeds_are_read_where_they_are_noted(tmp_path):
  assert sources.read_settings(tmp_path) == {}
  for name, settings in (('a', {'seed': 1}), ('b/c', {'seed': 2}), ('d', {})):
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / name / 'settings.json').write_text(json.dumps(settings))
  assert sources.read_settings(tmp_path / 'a') == {'seed': 1}
  assert sources.casting_seeds(tmp_path) == {1, 2}


def test_a_folder_without_a_finished_part_holds_no_films(tmp_path):
  part = tmp_path / 'part.incomplete'
  part.mkdir()
  (part / 'dataset_info.json').write_text('{}')
  with pytest.raises(UserError, match='holds no films; write some with'):
    sources.LatentFilms(tmp_path)
