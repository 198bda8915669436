"""The bank: reserved slots are hidden, written slots can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict

LAYERS, BATCH, SLOTS, TOKENS, HEADS, FEATURES = 2, 2, 8, 3, 2, 4
FRAMES, WINDOW = 2, 4


def _empty(storage='compute'):
  return bank_lib.empty(
    layers=LAYERS,
    batch=BATCH,
    frames=SLOTS,
    tokens=TOKENS,
    heads=HEADS,
    features=FEATURES,
    dtype=jnp.float32,
    storage=storage,
  )


def _chunk(seed):
  shape = (LAYERS, BATCH, FRAMES, TOKENS, HEADS, FEATURES)
  return jax.random.normal(jax.random.key(seed), shape)


def _add(bank, start, k, rule='oldest', shot=0):
  start_B = jnp.full(BATCH, start)
  slot_BF = evict.choose_slots(
    bank, start_B, frames=FRAMES, window=WINDOW, evict=rule
  )
  bank = bank_lib.reserve(bank, slot_BF, start_B, jnp.full(BATCH, shot))
  return bank_lib.write(bank, start_B, k, 2 * k)


def _filled(chunks, rule='oldest', keys=_chunk):
  bank = _empty()
  for i in range(chunks):
    bank = _add(bank, i * FRAMES, keys(i), rule)
  return bank


def test_what_is_written_can_be_read():
  bank, k = _filled(2), _chunk(1)
  slot = int(jnp.argmax(bank.frame_BE[0] == 3))
  np.testing.assert_array_equal(bank.memory.key.data[:, 0, slot], k[:, 0, 1])
  np.testing.assert_array_equal(
    bank.memory.value.data[:, 0, slot], 2 * k[:, 0, 1]
  )
  np.testing.assert_allclose(
    bank.memory.descriptor[:, 0, slot], k[:, 0, 1].mean(1), rtol=1e-6
  )


def test_reserved_slots_hide_what_they_held():
  bank = _filled(4)
  slot_BF = jnp.array([[0, 1]] * BATCH)
  bank = bank_lib.reserve(
    bank, slot_BF, jnp.full(BATCH, 8), jnp.ones(BATCH, jnp.int32)
  )
  assert not bank.valid_BE[:, :2].any() and bank.valid_BE[:, 2:].all()
  assert bank.frame_BE[0, :2].tolist() == [8, 9]


def test_a_chunk_before_the_first_is_written_nowhere():
  bank = _empty()
  after = bank_lib.write(bank, jnp.full(BATCH, -FRAMES), _chunk(0), _chunk(1))
  jax.tree.map(np.testing.assert_array_equal, after, bank)


def test_writes_in_float32_are_int8_close():
  k = _chunk(0)
  packed = bank_lib.store(k, 'int8')
  assert packed.data.dtype == jnp.int8
  error = jnp.abs(bank_lib.load(packed, jnp.float32) - k)
  bound = jnp.abs(k).max(-1, keepdims=True) / 254 + 1e-6
  assert (error <= bound).all()
  bank = _add(_empty('int8'), 0, k)
  assert bank.memory.key.data.dtype == jnp.int8


@pytest.mark.parametrize('rule', ['oldest', 'redundant', 'unused'])
def test_capacity_holds_and_the_window_stays(rule):
  bank = _filled(9, rule)
  frames = set(bank.frame_BE[0].tolist())
  assert bank.valid_BE.all() and len(frames) == SLOTS
  assert {14, 15, 16, 17} <= frames  # the last V = 4 of 18


def test_oldest_keeps_the_latest():
  assert sorted(_filled(9).frame_BE[0].tolist()) == list(range(10, 18))


def test_of_two_alike_frames_the_earlier_goes_and_one_stays():
  def keys(i):  # frames 0 and 3 are one another's copy
    k = _chunk(i)
    return k.at[:, :, 1].set(_chunk(0)[:, :, 0]) if i == 1 else k

  bank = _filled(4, keys=keys)
  slot_BF = evict.choose_slots(
    bank, jnp.full(BATCH, 8), frames=FRAMES, window=WINDOW, evict='redundant'
  )
  gone = jnp.take_along_axis(bank.frame_BE, slot_BF, 1)[0].tolist()
  assert gone[0] == 0 and 3 not in gone


def test_unused_goes_first():
  bank = _filled(4)
  routed = jnp.array([[[0, 1, 3, bank_lib.EMPTY]] * BATCH] * LAYERS)
  bank = bank_lib.count_use(bank, routed)
  assert bank.use_BE[0, :4].tolist() == [2, 2, 0, 2]
  slot_BF = evict.choose_slots(
    bank, jnp.full(BATCH, 8), frames=FRAMES, window=WINDOW, evict='unused'
  )
  gone = jnp.take_along_axis(bank.frame_BE, slot_BF, 1)[0].tolist()
  assert gone == [2, 0]


def test_the_choice_ignores_whether_the_window_is_committed():
  """The property that makes the fused commit exact."""
  before = _filled(3, 'redundant')
  slot_BF = evict.choose_slots(
    before, jnp.full(BATCH, 6), frames=FRAMES, window=WINDOW, evict='redundant'
  )
  start_B = jnp.full(BATCH, 6)
  pending = bank_lib.reserve(
    before, slot_BF, start_B, jnp.zeros(BATCH, jnp.int32)
  )
  done = bank_lib.write(pending, start_B, _chunk(7), _chunk(8))
  choices = [
    evict.choose_slots(
      bank, jnp.full(BATCH, 8), frames=FRAMES, window=WINDOW, evict='redundant'
    )
    for bank in (pending, done)
  ]
  np.testing.assert_array_equal(*choices)
