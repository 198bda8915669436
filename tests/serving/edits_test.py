"""Takes, undo and changes of the plan, over the server's interface."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from tests.serving.sessions import latents_of, until, wait_for_chunks


@pytest.fixture
def two_takes(studio, session):
  """A film of a and b, of which b was taken again as c; paused."""
  say = studio.direct
  say(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 2)
  say(session, {'do': 'prompt', 'prompt': 'b', 'cut': True})
  until(lambda: len(studio.describe(session)['segments']) == 2)
  _pause(studio, session)
  first = latents_of(studio, session)
  say(session, {'do': 'rewind', 'shot': 1})
  say(session, {'do': 'prompt', 'prompt': 'c', 'cut': True})
  until(lambda: len(studio.describe(session)['segments']) == 2)
  _pause(studio, session)
  return session, first, latents_of(studio, session)


def _pause(studio, session):
  studio.direct(session, {'do': 'pause'})
  live_film = studio.registry.sessions[session].live_film
  until(lambda: not live_film.chunk_in_flight and not live_film.replaying)


def _prompts(studio, session):
  return [one['prompt'] for one in studio.describe(session)['segments']]


def test_a_take_is_chosen_back_and_goes_on_as_it_would_have(studio, two_takes):
  session, first, second = two_takes
  say, chunk = studio.direct, studio.describe(session)['segments'][1]['chunk']
  (place,) = studio.describe(session)['takes']
  assert (place['chunk'], place['label']) == (chunk, 2)
  (take,) = place['takes']
  assert (take['prompt'], take['shot'], take['label']) == ('b', 1, 1)
  assert take['chunks'] == len(first) - chunk

  say(session, {'do': 'choose_take', 'take': take['take']})
  np.testing.assert_array_equal(latents_of(studio, session), first)
  assert _prompts(studio, session) == ['a', 'b']
  (place,) = studio.describe(session)['takes']
  assert (place['label'], place['takes'][0]['prompt']) == (1, 'c')
  # It goes on as the film that never had another take.
  say(session, {'do': 'resume'})
  wait_for_chunks(studio, session, len(first) + 2)
  _pause(studio, session)
  again = studio.create(seed=5, film=studio.screenplay(session))['id']
  until(lambda: 'has ended' in studio.describe(again)['reason'])
  np.testing.assert_array_equal(
    latents_of(studio, session), latents_of(studio, again)
  )
  studio.close(again)

  other = place['takes'][0]['take']
  say(session, {'do': 'delete_take', 'take': other})
  assert not studio.describe(session)['takes']
  with pytest.raises(UserError, match='no take'):
    say(session, {'do': 'choose_take', 'take': other})
  say(session, {'do': 'undo'})
  assert studio.describe(session)['takes'] == [place]
  say(session, {'do': 'undo'})  # of the choice
  np.testing.assert_array_equal(latents_of(studio, session), second)
  say(session, {'do': 'redo'})
  assert len(latents_of(studio, session)) >= len(first) + 2


def test_the_whole_history_is_undone_and_redone(studio, two_takes):
  session, _, second = two_takes
  seen, say = [], studio.direct
  while studio.describe(session)['undo']:
    seen.append((studio.describe(session)['undo'], _prompts(studio, session)))
    say(session, {'do': 'undo'})
  assert seen == [
    ('direction', ['a', 'c']),
    ('retake', ['a']),
    ('direction', ['a', 'b']),
    ('direction', ['a']),
  ]
  assert not studio.describe(session)['chunks']
  with pytest.raises(UserError, match='nothing that can be undone'):
    say(session, {'do': 'undo'})
  # A film that is killed here can be redone all the same.
  studio.save(session)
  with studio.registry.changed:
    old = studio.registry.sessions[session]
    studio.registry.remove(old, {'type': 'saved', 'id': session})
  studio.restore(session)
  while studio.describe(session)['redo']:
    say(session, {'do': 'redo'})
  np.testing.assert_array_equal(latents_of(studio, session), second)


def _plan(studio, session):
  state = studio.describe(session)
  return [(one['chunk'], one['prompt']) for one in state['planned']]


def test_a_plan_is_ordered_edited_and_deleted_with_undo(studio):
  session = studio.create(seed=5)['id']
  say = studio.direct
  for prompt, chunk in (('a', 10), ('b', 12), ('c', 15), ('d', 20)):
    direction = {'do': 'prompt', 'prompt': prompt, 'at_chunk': chunk}
    say(session, direction)
  before = _plan(studio, session)
  say(session, {'do': 'move_planned', 'chunk': 15, 'place': 0})
  assert _plan(studio, session) == [(10, 'c'), (15, 'a'), (17, 'b'), (20, 'd')]
  say(session, {'do': 'move_planned', 'chunk': 10, 'place': 3})
  # d had no end; now it lasts as long as c, which has none.
  assert _plan(studio, session) == [(10, 'a'), (12, 'b'), (15, 'd'), (20, 'c')]
  say(session, {'do': 'edit_planned', 'chunk': 12, 'chunks': 1})
  say(session, {'do': 'edit_planned', 'chunk': 10, 'prompt': 'A', 'cut': True})
  say(session, {'do': 'delete_planned', 'chunk': 12})
  assert _plan(studio, session) == [(10, 'A'), (12, 'd'), (17, 'c')]
  assert studio.describe(session)['planned'][0]['cut']
  for _ in range(5):
    say(session, {'do': 'undo'})
  assert _plan(studio, session) == before
  say(session, {'do': 'redo'})
  assert _plan(studio, session)[0] == (10, 'c')
  with pytest.raises(UserError, match='nothing is planned for chunk 11'):
    say(session, {'do': 'delete_planned', 'chunk': 11})
  studio.close(session)


def test_a_plan_may_reach_beyond_the_end_of_its_screenplay(studio, session):
  for chunk in (1, 5):
    say = {'do': 'prompt', 'prompt': f'at {chunk}', 'at_chunk': chunk}
    studio.direct(session, say)
  plan = studio.registry.sessions[session].plan
  plan.end_chunk = 3
  studio.direct(session, {'do': 'delete_planned', 'chunk': 1})
  (left,) = plan.directions
  assert (left.chunk, left.direction.prompt, plan.end_chunk) == (1, 'at 5', 2)
