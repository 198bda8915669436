import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.film.journal import ChunkPrompt, Settings
from cinejax.serving.film import slots as slots_lib
from cinejax.serving.film.slots import SlotInput, Slots

SLOTS = 3


@pytest.fixture(scope='module')
def slots(director):
  return Slots(director, SLOTS)


def _turn(director, state, number, cut=False):
  said = ChunkPrompt(f'prompt {number}', 0, 0, cut)
  return SlotInput(state, director.chunk_input([said]))


def _film(director, slots, seed, company):
  """Latents of a film of three chunks; `company`: seeds that share each."""
  state, made = director.begin([seed]), []
  for chunk, (before, after) in enumerate(company):
    others = [director.begin([other]) for other in (*before, *after)]
    turns = [_turn(director, other, 50) for other in others]
    own = _turn(director, state, chunk, cut=chunk == 1)
    turns.insert(len(before), own)
    done = slots.run(Settings(), turns)[len(before)]
    state = done.state
    made.append(np.asarray(done.output.latents_BFYXC))
  return np.stack(made)


def test_a_film_is_bit_equal_whatever_its_slot_and_company(director, slots):
  assert slots.slots == SLOTS  # this backend can
  alone = _film(director, slots, 3, [((), ())] * 3)
  wandering = [((8,), (9,)), ((4, 5), ()), ((), (6, 7))]
  np.testing.assert_array_equal(alone, _film(director, slots, 3, wandering))
  other = _film(director, slots, 4, [((), ())] * 3)
  assert not np.array_equal(alone, other)


def test_where_slots_differ_films_go_one_by_one(director, monkeypatch):
  monkeypatch.setattr(slots_lib, 'slots_agree', lambda *_: False)
  monkeypatch.setattr(
    slots_lib, 'make_batched_run', lambda _: lambda turns: turns
  )
  single = Slots(director, SLOTS)
  assert single.slots == 1
  made = _film(director, single, 3, [((), ())] * 2)
  state = director.begin([3])
  for chunk in range(2):
    turn = _turn(director, state, chunk, cut=chunk == 1)
    ((state, output),) = director.stream(state, [turn.chunk])
    np.testing.assert_array_equal(made[chunk], output.latents_BFYXC)


def test_the_probe_sees_a_slot_that_differs(director, slots):
  run = slots._fns[Settings()]

  def shifted(turns):
    done = list(run(turns))
    output = done[1].output
    output = output.replace(latents_BFYXC=output.latents_BFYXC + 1e-6)
    done[1] = done[1]._replace(output=output)
    return done

  assert slots_lib.slots_agree(director, run, SLOTS)
  assert not slots_lib.slots_agree(director, shifted, SLOTS)


def test_what_a_model_cannot_do_is_said(director, slots):
  with pytest.raises(UserError, match='policy is nowhere'):
    slots.prepare(Settings(policy='nowhere'))
  with pytest.raises(UserError, match='without guidance'):
    slots.prepare(Settings(guidance=2.0))
  assert not slots.prepared(Settings(policy='nowhere'))
