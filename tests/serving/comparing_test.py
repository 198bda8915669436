"""Films side by side: in step, and each the film of its policy alone."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment
from cinejax.serving import comparing
from cinejax.serving.registry import NotFoundError
from tests.serving.sessions import latents_of, run_film, until

POLICIES = ('uniform', 'camr')


def _film(policy=''):
  return Film(
    (
      Segment('a', chunks=2, policy=policy),
      Segment('b', chunks=2),
      Segment('a', chunks=2),
    ),
    seed=4,
  )


@pytest.fixture
def names(studio):
  made = []
  yield made
  for name in made:
    studio.close(name)


def test_a_screenplay_under_two_policies_in_step(studio, names, monkeypatch):
  apart, deliver = [], type(studio.worker)._deliver

  def watch(self, started, *rest):
    deliver(self, started, *rest)
    films = [studio.registry.sessions.get(name) for name in names]
    counts = [film.live_film.chunks for film in films if film is not None]
    apart.append(max(counts, default=0) - min(counts, default=0))

  monkeypatch.setattr(type(studio.worker), '_deliver', watch)
  with studio.registry.changed:
    films = comparing.compare(studio, POLICIES, _film('sink'), title='Two')
    names += [one['id'] for one in films['sessions']]
  assert [one['title'] for one in films['sessions']] == [
    'Two · uniform',
    'Two · camr',
  ]
  for name in names:
    until(lambda name=name: studio.describe(name)['status'] == 'paused')
  assert max(apart) == 1
  for name, policy in zip(names, POLICIES, strict=True):
    np.testing.assert_array_equal(
      latents_of(studio, name), run_film(studio, _film(policy))
    )
  same, other = (latents_of(studio, name) for name in names)
  assert not np.array_equal(same, other)


def test_several_memories_are_directed_at_once(studio, names):
  films = comparing.compare(studio, POLICIES, seed=4)['sessions']
  names += [one['id'] for one in films]
  say = {'do': 'prompt', 'prompt': 'a'}
  assert comparing.direct(studio, names[0], say)['ok']
  until(lambda: min(studio.describe(name)['chunks'] for name in names) >= 2)
  answer = comparing.direct(
    studio, names[1], say | {'prompt': 'b', 'cut': True}
  )
  for name in names:
    until(lambda name=name: len(studio.describe(name)['segments']) == 2)
    second = studio.describe(name)['segments'][1]
    assert (second['prompt'], second['chunk']) == ('b', answer['chunk'])
    assert (
      studio.describe(name)['settings']['policy']
      == (POLICIES[names.index(name)])
    )
  comparing.direct(studio, names[0], {'do': 'pause'})
  assert {studio.describe(name)['status'] for name in names} == {'paused'}
  with pytest.raises(UserError, match='there is no chunk 99'):
    comparing.direct(studio, names[0], {'do': 'rewind', 'chunk': 99})
  comparing.direct(studio, names[0], {'do': 'rewind', 'chunk': 0})
  for name, policy in zip(names, POLICIES, strict=True):
    session = studio.registry.sessions[name]
    assert session.next_settings().policy == policy
  with pytest.raises(UserError, match='which stay as they are'):
    comparing.direct(studio, names[0], say | {'policy': 'sink'})


def test_what_cannot_be_compared_leaves_nothing(studio, session):
  with pytest.raises(NotFoundError, match='not compared'):
    comparing.direct(studio, session, {'do': 'pause'})
  for policies, sentence in (
    (['camr'], '1 different policies'),
    (['camr', 'camr'], '1 different policies'),
    (['camr', 'nowhere'], "no memory policy 'nowhere'"),
    (['camr', 'uniform', 'sink'], 'sessions are taken'),  # one is there already
  ):
    with pytest.raises(UserError, match=sentence):
      comparing.compare(studio, policies, _film())
    assert list(studio.registry.sessions) == [session]
