"""The properties that casting documents, checked chunk by chunk."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.story import casting, render, staging, world

_COUNTS = {'train': 200, 'eval': 120, 'long': 24, 'strict': 60, 'minutes': 3}
_MANY_SHOTS = tuple(_COUNTS)


@pytest.fixture(scope='module')
def films():
  return {
    kind: [casting.cast(kind, 7, index) for index in range(count)]
    for kind, count in _COUNTS.items()
  }


@pytest.fixture(params=_MANY_SHOTS)
def kind(request):
  return request.param


def test_the_same_arguments_cast_the_same_film(kind):
  assert casting.cast(kind, 3, 5) == casting.cast(kind, 3, 5)
  assert casting.cast(kind, 3, 5) != casting.cast(kind, 4, 5)
  assert casting.cast(kind, 3, 5) != casting.cast(kind, 3, 6)


def test_no_two_films_of_any_kind_share_a_seed(films):
  seeds = [film.seed for kind in films for film in films[kind]]
  assert len(set(seeds)) == len(seeds)


def test_unknown_kinds_are_named():
  with pytest.raises(UserError, match='train, eval, long, strict'):
    casting.cast('test', 0, 0)


def test_an_absence_that_no_film_has_room_for_is_an_error():
  assert casting.cast('eval', 1_000_003, 4, window_chunks=6).events
  with pytest.raises(
    UserError, match=r'no character can be absent for 7 chunks'
  ):
    casting.cast('eval', 1_000_003, 4, window_chunks=7)


def test_a_film_of_one_shot_has_no_cut_and_no_return():
  films = [casting.cast('single', 7, index) for index in range(60)]
  assert {film.chunks for film in films} == set(range(6, 12))
  for film in films:
    assert film == casting.cast('single', 7, films.index(film))
    assert not any(s.cut for s in film.segments) and not film.events
    assert len({(s.character, s.place, s.size) for s in film.segments}) == 1
  continued = sum(len(film.segments) == 2 for film in films)
  assert 15 < continued < 45
  assert len({film.segments[0].character for film in films}) == 8


def test_lengths(films):
  assert {f.chunks for f in films['train']} == set(range(6, 12))
  assert {f.chunks for f in films['eval']} == {10, 11}
  assert {f.chunks for f in films['long']} == {40}
  assert {f.chunks for f in films['minutes']} == {400}
  shots = {f.segment_shots()[-1] + 1 for f in films['eval']}
  assert shots == {5, 6, 7, 8}


def test_shots_are_one_to_three_chunks(films, kind):
  for film in films[kind]:
    shots = film.segment_shots()
    lengths = np.bincount(shots, [s.chunks for s in film.segments])
    assert lengths.min() >= 1
    assert lengths.max() <= staging.MAX_SHOT


def test_neighbouring_shots_differ_and_continued_ones_only_act(films, kind):
  for film in films[kind]:
    assert not film.segments[0].cut
    for before, after in zip(film.segments, film.segments[1:], strict=False):
      if after.cut:
        assert before.place != after.place
        assert before.character != after.character
      else:
        assert before.action != after.action
        assert (before.character, before.place, before.size, before.camera) == (
          after.character,
          after.place,
          after.size,
          after.camera,
        )


def test_about_a_third_of_segments_continue(films, kind):
  segments = [s for film in films[kind] for s in film.segments]
  shots = sum(s.cut for s in segments) + len(films[kind])
  assert 0.25 < 1 - shots / len(segments) < 0.38


def test_no_frame_of_the_returning_character_is_in_the_window(films, kind):
  for film in films[kind]:
    seen = film.chunk_characters()
    for event in film.events:
      r, a = event.chunk, event.last_chunk
      assert a <= r - casting.WINDOW_CHUNKS - 1
      assert seen[r] == seen[a] == event.character
      assert event.character not in seen[a + 1 : r]
      assert event.absent_chunks == r - a - 1
      first = seen.index(event.character)
      assert event.kind == ('opening' if first == 0 else 'later')
      starts = np.cumsum([0, *(s.chunks for s in film.segments)])
      assert film.segments[list(starts).index(r)].cut


def test_candidates_are_all_who_have_been_away_long_enough(films, kind):
  least = casting.WINDOW_CHUNKS * (casting.LAYERS if kind == 'strict' else 1)
  for film in films[kind]:
    people = film.chunk_characters()
    for event in film.events:
      before = people[event.chunk - 1 :: -1]
      away = [before.index(who) for who in set(before)]
      assert event.candidates == sum(chunks >= least for chunks in away) >= 1


@pytest.mark.parametrize('kind', ['train', 'eval', 'long', 'minutes'])
def test_every_return_is_listed(films, kind):
  for film in films[kind]:
    seen = film.chunk_characters()
    returns = {
      r
      for r in range(len(seen))
      if seen[r] in seen[:r]
      and seen[r] not in seen[max(0, r - casting.WINDOW_CHUNKS) : r]
    }
    assert returns == {event.chunk for event in film.events}
    assert len(film.events) == len(returns) >= 1


@pytest.mark.parametrize('kind', ['eval', 'long', 'minutes'])
def test_a_third_of_main_events_open_exactly(films, kind):
  openings = [film.events[0].kind == 'opening' for film in films[kind]]
  assert 3 * sum(openings) == len(openings)


@pytest.mark.parametrize('layers', [2, 6])
def test_strict_returns_are_out_of_every_relay(layers):
  for index in range(40):
    film = casting.cast('strict', 7, index, layers=layers)
    assert film.events
    for event in film.events:
      assert event.kind == 'later'
      reach = layers * casting.WINDOW_CHUNKS
      assert event.absent_chunks >= reach
      seen = film.chunk_characters()[: event.chunk]
      assert event.character not in seen[event.chunk - reach :]
      assert event.character != seen[0]


def test_appearances_are_dealt_without_replacement_and_evenly(films):
  appearances = np.array([f.appearances for kind in films for f in films[kind]])
  assert all(len(set(row)) == len(world.CHARACTERS) for row in appearances)
  counts = np.stack(
    [np.bincount(c, minlength=len(world.APPEARANCES)) for c in appearances.T]
  )
  expected = len(appearances) / len(world.APPEARANCES)
  chi2 = ((counts - expected) ** 2 / expected).sum(1)
  # 23 degrees of freedom: 60 is beyond one in 10^4.
  assert chi2.max() < 60


def test_appearances_do_not_depend_on_the_cast(films):
  """Appearances of the characters that return are evenly distributed too."""
  appearances = [
    film.appearances[film.events[0].character]
    for k in films
    for film in films[k]
  ]
  counts = np.bincount(appearances, minlength=len(world.APPEARANCES))
  expected = len(appearances) / len(world.APPEARANCES)
  assert ((counts - expected) ** 2 / expected).sum() < 60


@pytest.mark.parametrize('kind', ['eval', 'strict'])
def test_films_in_smaller_chunks_are_the_same_films(films, kind):
  for film in films[kind][:9]:
    small = film.in_chunks_of(1)
    assert film.in_chunks_of(3) == film
    assert small.chunks == 3 * film.chunks
    seen = small.chunk_characters()
    assert seen[::3] == seen[2::3] == film.chunk_characters()
    for event in small.events:
      r, a = event.chunk, event.last_chunk
      assert seen[r] == seen[a] == event.character != seen[r - 1]
      assert event.character not in seen[a + 1 : r]
      assert 3 * event.absent_chunks == r - a - 1
  with pytest.raises(UserError, match='frames_per_chunk is 2'):
    films['eval'][0].in_chunks_of(2)


def test_smaller_chunks_paint_the_same_frames(films):
  film = films['eval'][0]
  np.testing.assert_array_equal(
    render.render(film), render.render(film.in_chunks_of(1), frames_per_chunk=1)
  )


@pytest.mark.parametrize(
  ('kind', 'longest', 'chunks'),
  [('dense', 1, 8), ('short', 2, 8), ('crowd', 2, 22), ('pictures', 3, 22)],
)
def test_films_to_learn_memory_from_have_short_shots(kind, longest, chunks):
  for index in range(50):
    people = casting.cast(kind, 7, index).chunk_characters()
    assert len(people) == chunks
    for i in range(chunks - longest):
      assert len(set(people[i : i + longest + 1])) > 1


def test_films_of_pictures_begin_with_one_to_three_of_them():
  counts, opens = set(), 0
  for index in range(50):
    film = casting.cast('pictures', 7, index)
    pictures = [segment.picture for segment in film.segments]
    count = sum(pictures)
    assert pictures == sorted(pictures, reverse=True) and 1 <= count <= 3
    *given, first = film.chunk_characters()[: count + 1]
    assert len(set(given)) == count
    opens += first in given
    counts.add(count)
  assert counts == {1, 2, 3}
  assert 35 <= opens < 50
  first, video = film.segments[0], render.render(film)
  name = world.CHARACTERS[first.character]
  assert world.prompt(first) == f'{name} stands in the forest, medium shot'
  assert (video[:9] == video[0]).all()
  assert not any(s.picture for s in casting.cast('crowd', 7, 0).segments)


def test_in_crowds_only_the_name_tells_who_returns():
  """Of the others seen, each returns as often, however long it was away."""
  right = expected = returns = 0
  for index in range(200):
    people = casting.cast('crowd', 7, index).chunk_characters()
    for i in range(1, len(people)):
      before = people[:i]
      if people[i] in before[:-1] and people[i] != before[-1]:
        longest_away = max(set(before), key=lambda who: before[::-1].index(who))
        right += people[i] == longest_away
        expected += 1 / (len(set(before)) - 1)
        returns += 1
  assert returns > 10 * 200
  np.testing.assert_allclose(right, expected, rtol=0.1)
