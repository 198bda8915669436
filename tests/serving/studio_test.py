import asyncio
import dataclasses
import json
import time

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film import screenplay
from cinejax.film.journal import Film, Segment
from cinejax.serving.registry import CapacityError, NotFoundError
from cinejax.serving.session import UNWATCHED
from cinejax.serving.studio import Studio
from cinejax.serving.viewer import Viewer


def until(what, secs=590.0):
  """Waits for it, and on a busy machine for long."""
  end = time.monotonic() + secs
  while not (got := what()):
    assert time.monotonic() < end, 'it did not happen'
    time.sleep(0.002)
  return got


@pytest.fixture(scope='module')
def studio(director, tmp_path_factory):
  studio = Studio(director, tmp_path_factory.mktemp('sessions'))
  studio.start()
  yield studio
  assert studio.stop(10)


@pytest.fixture
def session(studio):
  """A session that has not begun, closed in the end."""
  name = studio.create(seed=5)['id']
  yield name
  if name in studio.registry.sessions:
    studio.close(name)


def _chunks(studio, name, count):
  return until(lambda: studio.describe(name)['chunks'] >= count)


def _latents(studio, name):
  return studio.registry.sessions[name].live_film.spool.latents()


def _run(studio, film):
  """The latents of a screenplay, run to its end."""
  name = studio.create(film=film)['id']
  until(lambda: studio.describe(name)['status'] == 'paused')
  assert studio.describe(name)['reason'] == 'the screenplay has ended'
  latents = _latents(studio, name)
  studio.close(name)
  return latents


def test_a_journal_makes_the_film_again_bit_for_bit(
  studio, session, director, tmp_path
):
  say = studio.direct
  assert studio.describe(session)['status'] == 'waiting'
  say(session, {'do': 'prompt', 'prompt': 'a'})
  _chunks(studio, session, 2)
  say(session, {'do': 'prompt', 'prompt': 'b', 'cut': True})
  _chunks(studio, session, 4)
  say(session, {'do': 'prompt', 'prompt': 'c', 'blend_chunks': 3})
  _chunks(studio, session, 6)
  say(session, {'do': 'pause'})
  until(lambda: not studio.registry.sessions[session].live_film.chunk_in_flight)
  live = _latents(studio, session)
  film = studio.screenplay(session)
  assert film.seed == 5 and len(film.segments) == 3
  np.testing.assert_array_equal(_run(studio, film), live)

  screenplay.save(film, tmp_path / 'film.json')  # and so does `direct`
  (film,) = screenplay.load(tmp_path / 'film.json')
  prompts = screenplay.chunk_prompts(film, director.cfg.film.cut_prefix, 1.0)
  directed = list(director.roll([[p] for p in prompts], [5]))
  frames = np.stack(list(studio.registry.sessions[session].live_film.frames()))
  np.testing.assert_array_equal(np.concatenate(directed, 1)[0], frames)
  assert b'ftyp' in studio.video(session)[:16]


def test_each_of_four_directors_has_the_film_they_would_have_alone(studio):
  def film(n):
    segments = (Segment(f'a {n}', chunks=2), Segment(f'b {n}', chunks=3))
    return Film(segments, seed=n)

  most = studio.registry.cfg.sessions
  names = [studio.create(film=film(n))['id'] for n in range(most)]
  with pytest.raises(CapacityError, match='all 3 sessions are taken'):
    studio.create()
  for name in names:
    until(lambda name=name: studio.describe(name)['status'] == 'paused')
  together = [_latents(studio, name) for name in names]
  for name in names:
    studio.close(name)
  for n in range(most):
    np.testing.assert_array_equal(_run(studio, film(n)), together[n])


def test_words_that_the_model_cannot_read_end_no_film(
  studio, session, director, monkeypatch
):
  def refuse(prompts):
    raise UserError('names an action fly')

  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  _chunks(studio, session, 1)
  with monkeypatch.context() as patch:
    patch.setattr(director.text, 'encode', refuse)
    studio.direct(session, {'do': 'pause'})
    until(
      lambda: not studio.registry.sessions[session].live_film.chunk_in_flight
    )
    with pytest.raises(UserError, match='an action fly'):
      studio.direct(session, {'do': 'prompt', 'prompt': 'a [fly]'})
    with pytest.raises(UserError, match='an action fly'):
      studio.create(film=Film((Segment('a [fly]', chunks=1),)))
  studio.direct(session, {'do': 'resume'})
  _chunks(studio, session, studio.describe(session)['chunks'] + 1)


def test_directions_fall_where_they_should(studio, session):
  say = studio.direct
  planned = {'do': 'prompt', 'prompt': 'later', 'cut': True, 'at_chunk': 4}
  assert say(session, planned)['chunk'] == 4
  forgotten = {'do': 'prompt', 'prompt': 'never', 'at_chunk': 30}
  say(session, forgotten)
  assert len(studio.describe(session)['planned']) == 2
  assert say(session, {'do': 'prompt', 'prompt': 'now'})['chunk'] == 0
  _chunks(studio, session, 6)
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
  _chunks(studio, session, 2)
  say(session, {'do': 'prompt', 'prompt': 'b', 'cut': True})
  until(lambda: len(studio.describe(session)['segments']) == 2)
  second = studio.describe(session)['segments'][1]['chunk']
  _chunks(studio, session, second + 2)
  before = _latents(studio, session)[:second]
  fork = studio.fork(session, second)['id']
  say(session, {'do': 'rewind', 'shot': 1})
  for name in (session, fork):
    state = studio.describe(name)
    assert state['chunks'] == second and state['status'] == 'paused'
    say(name, {'do': 'prompt', 'prompt': 'c', 'cut': True})
  for name in (session, fork):
    _chunks(studio, name, second + 2)
    say(name, {'do': 'pause'})
  one, other = (_latents(studio, n)[: second + 2] for n in (session, fork))
  np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(one[:second], before)
  studio.close(fork)
  with pytest.raises(UserError, match='no shot 7'):
    say(session, {'do': 'rewind', 'shot': 7})


def test_a_policy_may_change_while_the_film_runs(studio, session):
  say = studio.direct
  say(session, {'do': 'prompt', 'prompt': 'a'})
  _chunks(studio, session, 1)
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


def test_a_failing_chunk_ends_its_session_alone(
  studio, session, director, monkeypatch
):
  read = type(director).chunk_input

  def fail(self, prompts):
    if prompts[0].prompt == 'bad':
      raise RuntimeError('out of words')
    return read(self, prompts)

  monkeypatch.setattr(type(director), 'chunk_input', fail)
  other = studio.create()['id']
  for name in (session, other):
    studio.direct(name, {'do': 'prompt', 'prompt': 'good'})
    _chunks(studio, name, 1)
  studio.direct(session, {'do': 'prompt', 'prompt': 'bad'})
  until(lambda: studio.describe(session)['status'] == 'failed')
  assert 'out of words' in studio.describe(session)['reason']
  assert 'good' in [
    s.prompt for s in studio.registry.archive.load(session).film.segments
  ]
  _chunks(studio, other, studio.describe(other)['chunks'] + 2)
  with pytest.raises(UserError, match='is failed'):
    studio.direct(session, {'do': 'resume'})
  assert studio.video(session)
  studio.close(other)
  with studio.registry.changed:  # its place is free again, in the end
    studio.registry.save_idle(
      studio.registry.clock() + studio.registry.cfg.idle_secs + 1
    )
  assert session not in studio.registry.sessions


def test_nobody_watching_stops_it_and_idle_saves_it(
  studio, session, monkeypatch
):
  async def watch():
    viewer = Viewer(asyncio.get_running_loop(), 'jpeg', 36)
    studio.watch(session, viewer)
    studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
    got = [await viewer.next() for _ in range(30)]
    studio.unwatch(session, viewer)
    return got

  got = asyncio.run(watch())
  events = [json.loads(one) for one in got if isinstance(one, str)]
  assert {event['type'] for event in events} == {'session', 'chunk'}
  first = next(event for event in events if event['type'] == 'chunk')
  assert first['frames'] == 9 and first['latency_ms'] >= 0
  state = studio.describe(session)
  assert (state['status'], state['reason']) == ('paused', UNWATCHED)
  monkeypatch.setattr(
    studio.registry,
    'cfg',
    dataclasses.replace(studio.registry.cfg, idle_secs=0.05),
  )
  until(lambda: session not in studio.registry.sessions)
  assert {'id': session, 'title': 'a'} in studio.list_sessions()['saved']
  with pytest.raises(NotFoundError):
    studio.describe(session)
  monkeypatch.undo()
  chunks = state['chunks']
  back = studio.restore(session)
  assert back['chunks'] in (chunks, chunks + 1) and back['status'] == 'paused'
  studio.direct(session, {'do': 'resume'})
  _chunks(studio, session, chunks + 2)


def test_a_film_that_was_left_makes_room(studio, monkeypatch):
  first = studio.create(film=Film((Segment('left', chunks=1),), seed=1))['id']
  until(lambda: studio.describe(first)['status'] == 'paused')
  names = [studio.create()['id'] for _ in range(2)]
  with pytest.raises(CapacityError):
    studio.create()
  monkeypatch.setattr('cinejax.serving.registry._ABANDONED_SECS', 0.0)
  names.append(studio.create()['id'])
  assert first not in studio.registry.sessions
  studio.close(names.pop())
  assert studio.restore(first)['chunks'] == 1
  for name in (first, *names):
    studio.close(name)


def test_what_cannot_be_compiled_ends_no_film(studio, session, monkeypatch):
  def fail(settings):
    raise RuntimeError('no')

  direction = {'do': 'prompt', 'prompt': 'a', 'policy': 'sink'}
  monkeypatch.setattr(studio.worker.slots, 'prepare', fail)
  assert studio.direct(session, direction)['compiling']
  until(lambda: not studio.worker._compiling)
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  _chunks(studio, session, 1)
  film = Film((Segment('a', chunks=1, policy='sink'),), seed=1)
  name = studio.create(film=film)['id']
  until(lambda: studio.describe(name)['status'] == 'failed')
  studio.close(name)


def test_a_server_that_stops_takes_its_sessions_up_again(director, tmp_path):
  film = Film(tuple(Segment(p, chunks=4) for p in 'ab'), 'Title', seed=3)
  first = Studio(director, tmp_path)
  first.start()
  whole = _run(first, film)
  name = first.create(film=film)['id']
  idle = first.create()['id']
  _chunks(first, name, 3)
  assert first.stop(10)
  with pytest.raises(CapacityError, match='closing'):
    first.create()

  second = Studio(director, tmp_path)
  second.start()
  state = second.describe(name)
  assert state['chunks'] >= 3 and state['status'] == 'paused'
  assert idle not in second.registry.sessions  # nothing of it was to be kept
  second.direct(name, {'do': 'resume'})
  until(lambda: second.describe(name)['reason'] == 'the screenplay has ended')
  np.testing.assert_array_equal(_latents(second, name), whole)
  second.stop(10)


def test_a_film_keeps_to_its_rate_and_a_direction_does_not_wait(
  slow_paced, tmp_path
):
  now = [0.0]  # only this test makes time pass
  studio = Studio(slow_paced, tmp_path, clock=lambda: now[0])
  studio.start()
  name = studio.create(seed=1)['id']

  def at(secs, chunks):
    with studio.registry.changed:
      now[0] = secs
      studio.registry.changed.notify_all()
    until(lambda: studio.describe(name)['chunks'] == chunks)
    with pytest.raises(AssertionError, match='did not happen'):
      until(lambda: studio.describe(name)['chunks'] > chunks, secs=0.1)

  def say(prompt):
    direction = {'do': 'prompt', 'prompt': prompt, 'cut': True}
    return studio.direct(name, direction)['chunk']

  assert say('a') == 0
  at(0.0, 1)  # on screen from 0 to 1.125
  at(0.9, 1)
  assert say('b') == 1
  at(0.9, 2)  # at once, and on screen from 1.125 to 2.625
  assert say('c') == 2
  at(1.1, 2)  # one is ahead
  at(1.2, 3)
  assert [s['prompt'] for s in studio.describe(name)['segments']] == [
    'a',
    'b',
    'c',
  ]
  at(4.0, 3)  # nobody asks for more: as late as can be
  at(4.1, 4)
  assert studio.stop(60)
