"""Films written as TFDS parts and read back, without TensorFlow."""

import json
import subprocess
import sys

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilm, LatentFilms, TrajectoryFilm
from data_prep import films

SHAPE = (2, 3, 4)


def film(number):
  chunks = 2 + number % 3
  values = np.random.default_rng(number).normal(size=(chunks * 3, *SHAPE))
  return LatentFilm(
    latents=values.astype(np.float16),
    prompts=tuple(f'Zoë in chunk {chunk}' for chunk in range(chunks)),
    cuts=np.arange(chunks) == 1,
    shots=(np.arange(chunks) >= 1).astype(np.int32),
    film=number,
  )


def make_part(part):
  return [film(number) for number in range(part * 4, part * 4 + 4)]


def write(out, part, make=make_part, **kwargs):
  return films.write_films(
    out, f'part-{part:05d}', SHAPE, make, [part], **kwargs
  )


def assert_equal(one, other):
  assert one.latents.dtype == np.float16
  np.testing.assert_array_equal(one.latents, other.latents)
  np.testing.assert_array_equal(one.cuts, other.cuts)
  np.testing.assert_array_equal(one.shots, other.shots)
  assert one.prompts == other.prompts
  assert one.film == other.film


def test_parts_read_back_as_one(tmp_path):
  for part in range(3):
    assert write(tmp_path, part)
  source = LatentFilms(tmp_path)
  assert len(source) == 12
  for index in (11, 0, 5):  # in any order
    assert_equal(source[index], film(index))


def test_trajectories_read_back(tmp_path):
  rng = np.random.default_rng(0)
  whole = film(0)
  trajectory = TrajectoryFilm(
    **vars(whole),
    points=rng.normal(size=(6, 4, *SHAPE)).astype(np.float16),
    end=rng.normal(size=(6, *SHAPE)).astype(np.float16),
  )
  write(tmp_path, 0, lambda part: [trajectory], points=4)
  (found,) = LatentFilms(tmp_path)
  assert_equal(found, whole)
  np.testing.assert_array_equal(found.points, trajectory.points)
  np.testing.assert_array_equal(found.end, trajectory.end)


def test_a_written_part_is_kept(tmp_path):
  write(tmp_path, 0)

  def never(part):
    raise AssertionError(f'part {part} was made again')

  assert not write(tmp_path, 0, never)


def test_an_interrupted_part_is_neither_read_nor_kept(tmp_path):
  def stopped(part):
    yield film(part)
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    write(tmp_path, 0, stopped)
  with pytest.raises(UserError, match='holds no films'):
    LatentFilms(tmp_path)
  # What a kill leaves behind, whole or not.
  folder = tmp_path / 'films' / 'part-00000' / '1.0.0.incompleteABC'
  folder.mkdir(parents=True)
  (folder / 'dataset_info.json').write_text('{}')
  with pytest.raises(UserError, match='holds no films'):
    LatentFilms(tmp_path)
  write(tmp_path, 0)
  assert not folder.exists()
  assert len(LatentFilms(tmp_path)) == 4


def test_other_settings_are_refused(tmp_path):
  films.record_settings(tmp_path, {'kind': 'train', 'seed': 1})
  films.record_settings(tmp_path, {'seed': 1, 'kind': 'train'})
  with pytest.raises(UserError, match='made with seed = 1, not 2'):
    films.record_settings(tmp_path, {'kind': 'train', 'seed': 2})
  found = json.loads((tmp_path / 'settings.json').read_text())
  assert found == {'kind': 'train', 'seed': 1}


def test_settings_that_cannot_be_recorded_are_refused(tmp_path):
  (tmp_path / 'x').touch()
  with pytest.raises(UserError, match='x is a file; name a folder'):
    films.record_settings(tmp_path / 'x', {'seed': 1})
  for text in ('{"seed"', '[]'):
    (tmp_path / 'settings.json').write_text(text)
    with pytest.raises(UserError, match=r'settings\.json .* repair it or'):
      films.record_settings(tmp_path, {'seed': 1})


def test_without_tensorflow(tmp_path):
  write(tmp_path, 0)
  code = (
    'import sys\n'
    'from cinejax.data.sources import LatentFilms\n'
    f'assert LatentFilms({str(tmp_path)!r})[0].film == 0\n'
    'import data_prep.films\n'
    'assert "tensorflow" not in sys.modules'
  )
  subprocess.run([sys.executable, '-c', code], check=True)


def test_a_missing_beam_is_a_user_error(monkeypatch):
  monkeypatch.setattr(films.importlib.util, 'find_spec', lambda name: None)
  with pytest.raises(UserError, match='pip install'):
    films.check_beam()


def test_beam_writes_the_same_films(tmp_path):
  pytest.importorskip('apache_beam', reason='needs the beam extra')
  films.write_films(tmp_path, 'beam', SHAPE, make_part, range(3), beam=True)
  source = LatentFilms(tmp_path)
  assert [source[i].film for i in range(len(source))] == list(range(12))
  for index in range(12):
    assert_equal(source[index], film(index))
