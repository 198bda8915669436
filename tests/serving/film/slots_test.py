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


def _slot_input(director, state, number, cut=False):
  prompt = ChunkPrompt(f'prompt {number}', 0, 0, cut)
  return SlotInput(state, director.chunk_input([prompt]))


def _film(director, slots, seed, company):
  """Latents of a film of three chunks; `company`: seeds that share each."""
  state, latents = director.begin([seed]), []
  for chunk, (before, after) in enumerate(company):
    others = [director.begin([other]) for other in (*before, *after)]
    inputs = [_slot_input(director, other, 50) for other in others]
    own = _slot_input(director, state, chunk, cut=chunk == 1)
    inputs.insert(len(before), own)
    output = slots.run(Settings(), inputs)[len(before)]
    state = output.state
    latents.append(np.asarray(output.chunk.latents_BFYXC))
  return np.stack(latents)


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
    slots_lib, 'make_batched_run', lambda _: lambda inputs: inputs
  )
  single = Slots(director, SLOTS)
  assert single.slots == 1
  latents = _film(director, single, 3, [((), ())] * 2)
  state = director.begin([3])
  for chunk in range(2):
    slot_input = _slot_input(director, state, chunk, cut=chunk == 1)
    ((state, output),) = director.stream(state, [slot_input.chunk])
    np.testing.assert_array_equal(latents[chunk], output.latents_BFYXC)


def test_the_probe_sees_a_slot_that_differs(director, slots):
  run = slots._fns[Settings()]

  def shifted(inputs):
    outputs = list(run(inputs))
    output = outputs[1].chunk
    output = output.replace(latents_BFYXC=output.latents_BFYXC + 1e-6)
    outputs[1] = outputs[1]._replace(chunk=output)
    return outputs

  assert slots_lib.slots_agree(director, run, SLOTS)
  assert not slots_lib.slots_agree(director, shifted, SLOTS)


def test_the_program_unused_longest_makes_room(with_settings, monkeypatch):
  made = []

  def make_run(variant):
    made.append(variant.cfg.memory.policy)
    return lambda inputs: inputs

  monkeypatch.setattr(slots_lib, 'make_single_run', make_run)
  slots = Slots(with_settings(serving={'programs': 2}), 1)
  window, sink, routed = (
    Settings('window'),
    Settings('sink'),
    Settings(routed_frames=1),
  )
  for settings in (window, sink):
    slots.prepare(settings)
  slots.run(window, [_slot_input(slots._director, None, 0)])
  slots.prepare(routed)
  assert [
    slots.prepared(one) for one in (Settings(), window, sink, routed)
  ] == [
    True,
    True,
    False,
    True,
  ]
  slots.run(sink, [_slot_input(slots._director, None, 1)])  # after a pause
  assert made == ['camr', 'window', 'sink', 'camr', 'sink']
  assert not slots.prepared(window)


def test_what_a_model_cannot_do_is_an_error(director, slots):
  with pytest.raises(UserError, match='policy is nowhere'):
    slots.prepare(Settings(policy='nowhere'))
  with pytest.raises(UserError, match='without guidance'):
    slots.prepare(Settings(guidance=2.0))
  assert not slots.prepared(Settings(policy='nowhere'))
