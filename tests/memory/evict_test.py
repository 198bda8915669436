"""Eviction: the window stays, and each rule evicts what it names."""

import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict
from tests.memory.banks import (
  BATCH,
  FRAMES,
  LAYERS,
  SLOTS,
  WINDOW,
  filled,
  random_chunk,
)


@pytest.mark.parametrize('rule', ['oldest', 'redundant', 'unused'])
def test_capacity_holds_and_the_window_stays(rule):
  bank = filled(9, rule)
  frames = set(bank.frame_BE[0].tolist())
  assert bank.valid_BE.all() and len(frames) == SLOTS
  assert {14, 15, 16, 17} <= frames  # the last V = 4 of 18


def test_oldest_keeps_the_latest():
  assert sorted(filled(9).frame_BE[0].tolist()) == list(range(10, 18))


def test_of_two_alike_frames_the_earlier_goes_and_one_stays():
  def keys(i):  # frames 0 and 3 are one another's copy
    k = random_chunk(i)
    return k.at[:, :, 1].set(random_chunk(0)[:, :, 0]) if i == 1 else k

  bank = filled(4, keys=keys)
  slot_BF = evict.choose_slots(
    bank, jnp.full(BATCH, 8), frames=FRAMES, window=WINDOW, evict='redundant'
  )
  gone = jnp.take_along_axis(bank.frame_BE, slot_BF, 1)[0].tolist()
  assert gone[0] == 0 and 3 not in gone


def test_unused_goes_first():
  bank = filled(4)
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
  before = filled(3, 'redundant')
  slot_BF = evict.choose_slots(
    before, jnp.full(BATCH, 6), frames=FRAMES, window=WINDOW, evict='redundant'
  )
  start_B = jnp.full(BATCH, 6)
  pending = bank_lib.reserve(
    before, slot_BF, start_B, jnp.zeros(BATCH, jnp.int32)
  )
  done = bank_lib.write(pending, start_B, random_chunk(7), random_chunk(8))
  choices = [
    evict.choose_slots(
      bank, jnp.full(BATCH, 8), frames=FRAMES, window=WINDOW, evict='redundant'
    )
    for bank in (pending, done)
  ]
  np.testing.assert_array_equal(*choices)
