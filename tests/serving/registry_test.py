"""Sessions that share a server, are saved when idle, and are restored."""

import asyncio
import dataclasses
import json

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment
from cinejax.serving.registry import CapacityError, NotFoundError
from cinejax.serving.session import UNWATCHED
from cinejax.serving.studio import Studio
from cinejax.serving.viewer import Viewer
from tests.serving.sessions import latents_of, run_film, until, wait_for_chunks


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
  together = [latents_of(studio, name) for name in names]
  for name in names:
    studio.close(name)
  for n in range(most):
    np.testing.assert_array_equal(run_film(studio, film(n)), together[n])


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
  wait_for_chunks(studio, session, chunks + 2)


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


def test_a_server_that_stops_takes_its_sessions_up_again(director, tmp_path):
  film = Film(tuple(Segment(p, chunks=4) for p in 'ab'), 'Title', seed=3)
  first = Studio(director, tmp_path)
  first.start()
  whole = run_film(first, film)
  name = first.create(film=film)['id']
  idle = first.create()['id']
  wait_for_chunks(first, name, 3)
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
  np.testing.assert_array_equal(latents_of(second, name), whole)
  second.stop(10)


def test_films_are_named_and_deleted_with_undo(studio, session, monkeypatch):
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 1)
  studio.direct(session, {'do': 'pause'})
  until(lambda: not studio.registry.sessions[session].live_film.chunk_in_flight)
  latents = latents_of(studio, session)
  entry = {'id': session, 'title': 'a'}
  assert studio.describe(session)['title'] == 'a'
  studio.close(session)
  assert entry in studio.list_sessions()['deleted']
  with pytest.raises(UserError, match='no such saved'):
    studio.restore(session)
  studio.undelete(session)
  assert entry in studio.list_sessions()['saved']
  studio.rename(session, 'Once')  # while it is saved
  assert studio.restore(session)['title'] == 'Once'
  studio.rename(session, 'Twice')  # and while it is live
  assert studio.describe(session)['title'] == 'Twice'
  np.testing.assert_array_equal(latents_of(studio, session), latents)
  studio.close(session)
  for change in (studio.close, lambda one: studio.rename(one, 'x')):
    with pytest.raises(NotFoundError):
      change(session)
  assert not studio.registry.deleted.delete_older(3600.0)
  assert 'Twice' in studio.registry.deleted.delete_older(-1.0)
  with pytest.raises(NotFoundError):
    studio.undelete(session)


def test_a_full_shelf_deletes_nothing(studio, session, monkeypatch):
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 1)
  few = dataclasses.replace(studio.registry.cfg, saved_sessions=1)
  monkeypatch.setattr(studio.registry, 'cfg', few)
  for more in (studio.create, lambda: studio.fork(session, 1)):
    with pytest.raises(CapacityError, match='this server keeps no more'):
      more()
  assert studio.describe(session)['chunks']
