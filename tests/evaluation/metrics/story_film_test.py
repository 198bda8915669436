"""Rendered films, scored as if generated, are right in every respect."""

import dataclasses

import numpy as np
import pytest

from cinejax.evaluation.config import EvalConfig
from cinejax.evaluation.metrics import cuts, features, story_film
from cinejax.evaluation.metrics.film import (
  FilmScore,
  Instruments,
  make_instruments,
)
from cinejax.film.timeline import Timeline
from cinejax.story import casting, render, world

LINE = Timeline(3, 4, world.FPS)
TOOLS = Instruments()
FILMS = [casting.cast('eval', 31, index) for index in range(3)]


@pytest.fixture(scope='module')
def videos():
  return render.render_batch(FILMS)


def return_frames(film, video_TYXC):
  _, start, chunks = story_film.return_shot(film)
  place = LINE.chunk_start_pixel
  return video_TYXC[place(start) : place(start + chunks)]


def test_the_return_shot_is_whole_and_shows_the_character():
  lengths = set()
  for index in range(30):
    film = casting.cast('eval', 32, index)
    event, (shot, start, chunks) = film.events[0], story_film.return_shot(film)
    assert start == event.chunk
    segments, shots = film.chunk_segments(), film.segment_shots()
    own = range(start, start + chunks)
    assert {film.segments[segments[c]].character for c in own} == {
      event.character
    }
    assert [c for c, s in enumerate(segments) if shots[s] == shot] == [*own]
    lengths.add(chunks)
  assert lengths == {1, 2, 3}


def test_a_rendered_film_matches_its_prompts(videos):
  for film, video_TYXC in zip(FILMS, videos, strict=True):
    values = story_film.score_generated(film, video_TYXC, LINE, TOOLS).values
    for name in ('place', 'size', 'recall'):
      assert values[name] == 1, name
    assert values['action'] >= 0.9
    assert values['sca'] >= 0.99 and values['nsd'] <= 0.01
    assert values['false_cuts'] == values['transition_deviation'] == 0
    assert values['intra_pixels'] > 0.9
    assert values['inter_pixels'] < 0.6
    assert values['unreadable'] <= 0.02
    assert 0.9 < values['flicker'] < 1


def test_appearances_are_those_of_the_film(videos):
  score = story_film.score_generated(FILMS[0], videos[0], LINE, TOOLS)
  characters = dict.fromkeys(s.character for s in FILMS[0].segments)
  assert score.appearances == tuple(
    FILMS[0].appearances[character] for character in characters
  )
  character = FILMS[0].events[0].character
  assert score.recall_pairs['recall'] == (FILMS[0].appearances[character],) * 2


def test_the_video_of_another_film_scores_low(videos):
  short, long = sorted(range(2), key=lambda i: FILMS[i].chunks)
  video_TYXC = videos[long][: len(videos[short])]
  values = story_film.score_generated(
    FILMS[short], video_TYXC, LINE, TOOLS
  ).values
  assert values['place'] < 0.7
  assert values['sca'] < 0.95


def test_given_returns_follow_the_given_appearance(videos):
  film, seen = FILMS[1], return_frames(FILMS[1], videos[1])
  changed = story_film.swap(film)
  character = film.events[0].character
  assert changed.appearances[character] not in film.appearances
  other = return_frames(changed, render.render(changed))
  nothing = np.full((2, 1, 4), -1)
  for of, video_TYXC, right in (
    (film, seen, 1),
    (film, other, 0),
    (changed, other, 1),
    (changed, seen, 0),
  ):
    given = story_film.score_given(of, video_TYXC, nothing, 3).values
    swapped = story_film.score_swapped(of, video_TYXC).values
    assert given['recall_given'] == swapped['recall_swap'] == right
    assert given['route_hit_0'] is None


def test_routing_counts_the_frames_that_show_the_character(videos):
  film, seen = FILMS[1], return_frames(FILMS[1], videos[1])
  event = film.events[0]
  last = 3 * event.last_chunk
  frame_JLR = np.array([[[last, last + 2], [last + 3, -1]]])
  values = story_film.score_given(film, seen, frame_JLR, 3).values
  assert values['route_hit_0'] == values['route_share_0'] == 1
  assert values['route_hit_1'] == values['route_share_1'] == 0


def test_a_lossless_codec_changes_no_reading(videos):
  values = story_film.score_codec(FILMS[0], videos[0], videos[0], LINE).values
  assert values['psnr'] == 60
  assert values['read_clean'] == values['read_codec'] >= 0.97
  for field in ('appearance', 'place', 'size', 'x', 'action'):
    assert values[f'read_clean_{field}'] >= 0.9
  black = np.zeros_like(videos[0])
  values = story_film.score_codec(FILMS[0], videos[0], black, LINE).values
  assert values['read_codec'] == 0
  error = np.mean(videos[0].astype(float) ** 2)
  assert values['psnr'] == pytest.approx(10 * np.log10(255**2 / error))


def test_films_may_be_memory_mapped(videos, tmp_path):
  shape = videos[0].shape
  on_disk = np.memmap(tmp_path / 'film', np.uint8, 'w+', shape=shape)
  on_disk[:] = videos[0]
  one, two = (
    story_film.score_generated(FILMS[0], video, LINE, TOOLS)
    for video in (videos[0], on_disk)
  )
  assert one == two


def test_instruments_are_those_of_the_config(videos):
  config = EvalConfig(
    0, 1, 'eval', 1, 'content', 9, 'optimal', 3.0, ('pixels',)
  )
  tools = make_instruments(config)
  assert (tools.matching, tools.penalty_frames) == ('optimal', 3.0)
  assert tools.features == (features.PIXELS,)
  mean = dataclasses.replace(config, penalty_frames=0.0)
  assert make_instruments(mean).penalty_frames is None

  words = features.Features(
    'words',
    lambda video: np.ones((len(video), 2)),
    lambda prompts: np.array([[1.0, 1 - 2 * ('Ada' in p)] for p in prompts]),
  )
  blind = Instruments(cuts.ContentDetector, (words,), 'greedy', 3.0)
  black = np.zeros_like(videos[0])
  values = story_film.score_generated(FILMS[0], black, LINE, blind).values
  missed = FILMS[0].segment_shots()[-1]
  assert values['nsd'] == pytest.approx(3 * missed / len(black))
  assert values['transition_deviation'] is None
  assert values['intra_words'] == pytest.approx(1)
  shows_ada = [s.character == 0 for s in FILMS[0].segments]
  assert values['text_words'] == pytest.approx(1 - np.mean(shows_ada))


def test_parts_of_a_score_add_up():
  a = FilmScore({'x': 1.0}, {}, (3,))
  b = FilmScore({'y': None}, {'recall': story_film.RecallPair(1, 2)}, (4,))
  both = dataclasses.asdict(a | b)
  assert both['values'] == {'x': 1.0, 'y': None}
  assert (
    both['appearances'] == (3, 4) and (a | b).recall_pairs == b.recall_pairs
  )
