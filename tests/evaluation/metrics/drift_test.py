import numpy as np
import pytest

from cinejax.evaluation.metrics import drift
from cinejax.film.sheet import film_rows
from cinejax.film.timeline import Timeline
from cinejax.story import casting, read_back, render, world

LINE = Timeline(3, 4, world.FPS)


@pytest.fixture(scope='module')
def film():
  return casting.cast('eval', 31, 1)


@pytest.fixture(scope='module')
def video(film):
  return render.render(film)


def sample(film, video_TYXC, detected=()):
  rows = film_rows(film.screenplay(), LINE)
  readings = read_back.read_frames(video_TYXC)
  features = {'flat': np.ones((len(video_TYXC), 1))}
  return drift.sample_film(
    video_TYXC, rows, world.FPS, readings, detected, features
  )


def test_every_segment_of_a_rendered_film_is_right(film, video):
  rows = film_rows(film.screenplay(), LINE)
  cuts = [row.start + 4 for row in rows if row.cut]
  series = sample(film, video, cuts)
  starts = [row.start / world.FPS for row in rows]
  for name in ('place', 'size', 'steady_flat'):
    assert series[name] == [(secs, 1.0) for secs in starts], name
  assert [value for _, value in series['cut']] == [1] * len(cuts)
  assert max(value for _, value in series['unreadable']) < 0.2
  # every return, at the time of its shot, the main one included
  events = {LINE.chunk_start_pixel(e.chunk) / world.FPS for e in film.events}
  found = dict(series['recall'])
  assert events <= set(found) and set(found.values()) == {1.0}


def test_faults_show_in_the_samples_of_their_segment(film, video):
  rows = film_rows(film.screenplay(), LINE)
  bad, third = video.copy(), rows[2]
  bad[third.start : third.stop] = 255  # burnt out
  series = sample(film, bad, [third.start + 5])
  at = {name: dict(pairs) for name, pairs in series.items()}
  secs = third.start / world.FPS
  assert at['unreadable'][secs] == 1
  assert at['contrast'][secs] == at['saturation'][secs] == 0
  assert at['flicker'][secs] == 1 and at['motion'][secs] == 0
  assert at['contrast'][0.0] > 0.1 and at['unreadable'][0.0] < 0.2
  assert 1 not in at['cut'].values()  # five frames off


def test_a_curve_pools_films_in_spans():
  series = [{'a': [(0.0, 1.0), (1.4, 3.0), (9.0, 7.0)]}, {'a': [(1.0, 5.0)]}]
  got = drift.curve(series, length_secs=18.0)['a']
  assert [(span['secs'], span['n']) for span in got] == [(0.75, 3), (9.75, 1)]
  assert got[0]['mean'] == 3 and got[1]['mean'] == 7
  assert got[0]['std'] == pytest.approx(np.std([1, 3, 5]))
  got = drift.curve(series, length_secs=120.0)['a']
  assert [span['n'] for span in got] == [4]


def test_ends_are_a_minute_or_a_third():
  series = {'a': [(0.0, 1.0), (59.0, 3.0), (61.0, 9.0), (545.0, 5.0)]}
  assert drift.ends(series, 600.0) == {'a': (2.0, 5.0)}
  assert drift.ends(series, 180.0)['a'] == (2.0, 5.0)
  short = {'a': [(0.0, 1.0), (4.0, 3.0), (6.0, 9.0), (8.0, 5.0)]}
  assert drift.ends(short, 9.0)['a'] == (1.0, 7.0)
  assert drift.ends({'a': [(4.0, 1.0)]}, 9.0) == {'a': (None, None)}
