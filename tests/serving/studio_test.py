"""Directions to a session, and the film that its journal makes again."""

import dataclasses

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment
from tests.serving.sessions import latents_of, run_film, until, wait_for_chunks


def test_a_journal_makes_the_film_again_bit_for_bit(
  studio, session, director, tmp_path
):
  say = studio.direct
  assert studio.describe(session)['status'] == 'waiting'
  say(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 2)
  say(session, {'do': 'prompt', 'prompt': 'b', 'cut': True})
  wait_for_chunks(studio, session, 4)
  say(session, {'do': 'prompt', 'prompt': 'c', 'blend_chunks': 3})
  wait_for_chunks(studio, session, 6)
  say(session, {'do': 'pause'})
  until(lambda: not studio.registry.sessions[session].live_film.chunk_in_flight)
  live = latents_of(studio, session)
  film = studio.screenplay(session)
  assert film.seed == 5 and len(film.segments) == 3
  np.testing.assert_array_equal(run_film(studio, film), live)

  screenplay.save(film, tmp_path / 'film.json')  # and so does `direct`
  (film,) = screenplay.load(tmp_path / 'film.json')
  prompts = screenplay.chunk_prompts(film, director.cfg.film.cut_prefix, 1.0)
  directed = list(director.roll([[p] for p in prompts], [5]))
  frames = np.stack(list(studio.registry.sessions[session].live_film.frames()))
  np.testing.assert_array_equal(np.concatenate(directed, 1)[0], frames)
  assert b'ftyp' in studio.video(session)[:16]


def test_a_seed_of_a_segment_is_that_of_its_noise(studio, director):
  def segments(**first):
    return (
      Segment('a', chunks=1, **first),
      Segment('b', chunks=1, cut=False, seed=9),
    )

  one = run_film(studio, Film(segments(), seed=9))
  other = run_film(studio, Film(segments(seed=9), seed=1))
  np.testing.assert_array_equal(one, other)
  plain = Film((Segment('a', chunks=1), Segment('b', chunks=1, cut=False)))
  changed = dataclasses.replace(plain, segments=segments(), seed=1)
  plain, changed = (
    run_film(studio, dataclasses.replace(film, seed=1))
    for film in (plain, changed)
  )
  np.testing.assert_array_equal(plain[0], changed[0])
  assert not np.array_equal(plain[1], changed[1])
  prompts = screenplay.chunk_prompts(
    Film(segments(seed=9), seed=1), director.cfg.film.cut_prefix, 1.0
  )
  got = []
  rolled = director.roll(
    [[p] for p in prompts], [1], observe=lambda o: got.append(o.latents_BFYXC)
  )
  assert len(list(rolled)) == 2
  np.testing.assert_array_equal(np.stack(got)[:, 0], other)


def test_directions_fall_where_they_should(studio, session):
  say = studio.direct
  planned = {'do': 'prompt', 'prompt': 'later', 'cut': True, 'at_chunk': 4}
  assert say(session, planned)['chunk'] == 4
  forgotten = {'do': 'prompt', 'prompt': 'never', 'at_chunk': 30}
  say(session, forgotten)
  assert len(studio.describe(session)['planned']) == 2
  assert say(session, {'do': 'prompt', 'prompt': 'now'})['chunk'] == 0
  wait_for_chunks(studio, session, 6)
  say(session, {'do': 'hold'})
  state = studio.describe(session)
  assert not state['planned']
  assert [(s['prompt'], s['chunk'], s['cut']) for s in state['segments']] == [
    ('now', 0, False),
    ('later', 4, True),
  ]


def test_back_to_a_shot_and_another_way(studio, session):
  say = studio.direct
  say(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 2)
  say(session, {'do': 'prompt', 'prompt': 'b', 'cut': True})
  until(lambda: len(studio.describe(session)['segments']) == 2)
  second = studio.describe(session)['segments'][1]['chunk']
  wait_for_chunks(studio, session, second + 2)
  before = latents_of(studio, session)[:second]
  fork = studio.fork(session, second)['id']
  say(session, {'do': 'rewind', 'shot': 1})
  for name in (session, fork):
    state = studio.describe(name)
    assert state['chunks'] == second and state['status'] == 'paused'
    say(name, {'do': 'prompt', 'prompt': 'c', 'cut': True})
  for name in (session, fork):
    wait_for_chunks(studio, name, second + 2)
    say(name, {'do': 'pause'})
  one, other = (latents_of(studio, n)[: second + 2] for n in (session, fork))
  np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(one[:second], before)
  studio.close(fork)
  with pytest.raises(UserError, match='no shot 7'):
    say(session, {'do': 'rewind', 'shot': 7})


def test_a_policy_may_change_while_the_film_runs(studio, session):
  say = studio.direct
  say(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 1)
  say(session, {'do': 'pause'})
  answer = say(session, {'do': 'set', 'policy': 'window'})
  assert answer == {'ok': True, 'compiling': True}
  until(lambda: studio.describe(session)['planned'])
  say(session, {'do': 'resume'})
  until(lambda: len(studio.describe(session)['segments']) == 2)
  assert studio.describe(session)['settings']['policy'] == 'window'
  for asked, sentence in (
    ({'policy': 'nowhere'}, 'policy is nowhere'),
    ({'guidance': 2}, 'without guidance'),
    ({'steps': 101}, 'at most 100'),
  ):
    with pytest.raises(UserError, match=sentence):
      say(session, {'do': 'set'} | asked)
