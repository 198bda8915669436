"""Chunks of sessions: their rate, and errors that end one session alone."""

import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.serving.registry import CapacityError
from cinejax.serving.studio import Studio
from tests.serving.sessions import until, wait_for_chunks


def test_words_that_the_model_cannot_read_end_no_film(
  studio, session, director, monkeypatch
):
  def refuse(prompts):
    raise UserError('names an action fly')

  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 1)
  studio.direct(session, {'do': 'pause'})  # no chunk of its own is refused
  until(lambda: not studio.registry.sessions[session].live_film.chunk_in_flight)
  with monkeypatch.context() as patch:
    patch.setattr(director.text, 'encode', refuse)
    with pytest.raises(UserError, match='an action fly'):
      studio.direct(session, {'do': 'prompt', 'prompt': 'a [fly]'})
    with pytest.raises(UserError, match='an action fly'):
      studio.create(film=Film((Segment('a [fly]', chunks=1),)))
  studio.direct(session, {'do': 'resume'})
  wait_for_chunks(studio, session, studio.describe(session)['chunks'] + 1)


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
    wait_for_chunks(studio, name, 1)
  studio.direct(session, {'do': 'prompt', 'prompt': 'bad'})
  until(lambda: studio.describe(session)['status'] == 'failed')
  assert 'out of words' in studio.describe(session)['reason']
  files = studio.registry.archive.path(session)
  assert '"good"' in files.read_text()
  wait_for_chunks(studio, other, studio.describe(other)['chunks'] + 2)
  with pytest.raises(UserError, match='is failed'):
    studio.direct(session, {'do': 'resume'})
  assert studio.video(session)
  studio.close(other)
  with studio.registry.changed:  # its place is free again, in the end
    studio.registry.save_idle(
      studio.registry.clock() + studio.registry.cfg.idle_secs + 1
    )
  assert session not in studio.registry.sessions


def test_what_cannot_be_compiled_ends_no_film(studio, session, monkeypatch):
  def fail(settings):
    raise RuntimeError('no')

  direction = {'do': 'prompt', 'prompt': 'a', 'policy': 'sink'}
  monkeypatch.setattr(studio.worker.slots, 'prepare', fail)
  assert studio.direct(session, direction)['compiling']
  until(lambda: not studio.worker._compiling)
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 1)
  film = Film((Segment('a', chunks=1, policy='sink'),), seed=1)
  name = studio.create(film=film)['id']
  until(lambda: studio.describe(name)['status'] == 'failed')
  studio.close(name)


def test_a_program_that_no_rolling_film_uses_makes_room(
  with_settings, tmp_path
):
  studio = Studio(with_settings(serving={'programs': 1}), tmp_path)
  one, other = (studio.create()['id'] for _ in range(2))
  say = {'do': 'prompt', 'prompt': 'a'}
  assert studio.direct(one, say | {'policy': 'window'})['compiling']
  until(lambda: studio.describe(one)['status'] == 'rolling')
  assert studio.describe(one)['compiling'] == 0
  with pytest.raises(CapacityError, match='rolling in 1 combinations'):
    studio.direct(other, say | {'policy': 'sink'})
  studio.direct(one, {'do': 'pause'})
  assert studio.direct(other, say | {'policy': 'sink'})['compiling']
  until(lambda: studio.describe(other)['status'] == 'rolling')
  assert not studio.worker.slots.prepared(Settings('window'))
  assert studio.stop(60)


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
