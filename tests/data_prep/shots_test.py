"""The frames that films keep of a clip."""

import fractions
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cinejax.film.media import write_video
from cinejax.film.timeline import Timeline
from data_prep import shots

MANY = 10_000  # chunks


def survey(lengths, rate=24):
  bounds = tuple(itertools.accumulate(lengths))
  picture = (0, 48, 0, 64)
  return shots.Survey(
    bounds[-1], fractions.Fraction(rate), 48, bounds[:-1], picture
  )


timelines = st.builds(
  Timeline,
  st.sampled_from([1, 3]),
  st.sampled_from([1, 4]),
  st.sampled_from([8.0, 16.0, 24.0]),
)
lengths = st.lists(st.integers(1, 200), min_size=1, max_size=8)


@given(timelines, lengths, st.integers(1, 12), st.integers(0, 5))
@settings(deadline=None, max_examples=200)
def test_films_are_whole_chunks_of_single_shots(
  timeline, lengths, film_chunks, shot_chunks
):
  plan = shots.plan_films(survey(lengths), timeline, film_chunks, shot_chunks)
  for film in plan.films:
    chunks = sum(excerpt.chunks for excerpt in film)
    kept = [frame for excerpt in film for frame in excerpt.frames]
    assert 1 <= chunks <= film_chunks
    assert len(kept) == timeline.pixel_frames(chunks)
    ends = itertools.accumulate(excerpt.chunks for excerpt in film)
    cuts = itertools.accumulate(len(excerpt.frames) for excerpt in film)
    assert [timeline.pixel_frames(end) for end in ends] == list(cuts)
  excerpts = [excerpt for film in plan.films for excerpt in film]
  for excerpt in excerpts:
    assert excerpt.frames[0] == excerpt.start
    assert max(excerpt.frames) < excerpt.stop
    assert list(excerpt.frames) == sorted(excerpt.frames)
    assert excerpt.chunks <= (shot_chunks or film_chunks)
  numbers = sorted([excerpt.shot for excerpt in excerpts] + list(plan.dropped))
  assert numbers == list(range(len(lengths)))


@given(timelines, lengths)
@settings(deadline=None, max_examples=100)
def test_without_limits_lengths_follow_the_timeline(timeline, lengths):
  plan = shots.plan_films(survey(lengths, timeline.fps), timeline, MANY)
  kept = dict.fromkeys(range(len(lengths)), 0)
  kept |= {
    excerpt.shot: len(excerpt.frames) for film in plan.films for excerpt in film
  }
  assert tuple(kept.values()) == _trimmed_lengths(timeline, lengths)


def _trimmed_lengths(timeline, lengths):
  """Pixel frames of each shot, from the ends of their chunks in the film."""
  chunks = []
  for length in lengths:
    opens = not any(chunks)
    chunks.append(
      timeline.whole_chunks_in(length)
      if opens
      else length // timeline.chunk_pixels
    )
  ends = itertools.accumulate(chunks, initial=0)
  pixels = [timeline.pixel_frames(end) for end in ends]
  return tuple(stop - start for start, stop in itertools.pairwise(pixels))


def test_resampling_shows_what_is_on_screen():
  plan = shots.plan_films(survey([24], 24), Timeline(3, 1, 8.0), MANY)
  assert plan.films[0][0].frames == (
    0,
    3,
    6,
    9,
    12,
    15,
  )  # 18 and 21 fill no chunk


def test_a_long_clip_becomes_films_that_open_with_shots():
  timeline = Timeline(3, 4, 8.0)
  plan = shots.plan_films(survey([30, 30, 30, 5, 30], 8), timeline, 5)
  assert [[t.shot for t in film] for film in plan.films] == [[0, 1], [2, 4]]
  assert plan.dropped == (3,)
  assert [[t.chunks for t in film] for film in plan.films] == [[2, 2], [2, 2]]
  assert plan.films[1][0].frames == tuple(range(60, 81))


@pytest.mark.parametrize(
  ('picture', 'shape', 'box'),
  [
    ((58, 420, 0, 848), (64, 160), (69, 408, 0, 848)),  # wider: rows go
    ((0, 100, 0, 200), (64, 64), (0, 100, 50, 150)),  # narrower: columns go
    ((10, 74, 20, 84), (64, 64), (10, 74, 20, 84)),
  ],
)
def test_fill_keeps_the_middle(picture, shape, box):
  assert shots.fill(picture, *shape) == box


def write_bars(path, top, bottom, left, right):
  video = np.zeros((12, 64, 96, 3), np.uint8)
  rng = np.random.default_rng(0)
  picture = video[:, top : 64 - bottom, left : 96 - right]
  picture[:] = rng.integers(60, 255, picture.shape[1:])
  write_video(path, video, 8)


@pytest.mark.parametrize(
  ('bars', 'picture'),
  [
    ((8, 8, 0, 0), (8, 56, 0, 96)),
    ((0, 0, 16, 16), (0, 64, 16, 80)),
    ((0, 0, 0, 0), (0, 64, 0, 96)),
    ((20, 0, 0, 0), (0, 64, 0, 96)),  # a dark sky is no bar
  ],
)
def test_bars_are_found(tmp_path, bars, picture):
  write_bars(tmp_path / 'clip.mp4', *bars)
  found = shots.survey(tmp_path / 'clip.mp4')
  np.testing.assert_allclose(found.picture, picture, atol=1)
  assert found.frames == 12


@pytest.mark.slow
def test_sintel_has_seven_shots(shared_data):
  clip = shared_data / 'videos' / 'sintel_rooftop_7shots_848x480_25fps.mp4'
  found = shots.survey(clip)
  assert found.frames == 652
  assert found.cuts == (76, 121, 319, 457, 545, 611)
  assert found.picture == (58, 420, 0, 848)
  plan = shots.plan_films(found, Timeline(3, 1, 8.0), 16, 2)
  assert [excerpt.shot for excerpt in plan.films[0]] == list(range(7))
  assert sum(excerpt.chunks for excerpt in plan.films[0]) * 3 == 42
