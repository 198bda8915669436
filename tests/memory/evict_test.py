"""Eviction: the window stays, and each rule evicts what it names."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict
from cinejax.memory.config import STORAGES
from tests.memory.banks import (
  BATCH,
  FRAMES,
  LAYERS,
  SLOTS,
  WINDOW,
  add,
  empty,
  filled,
  random_chunk,
)

PACKED = [storage for storage in STORAGES if storage != 'compute']


@pytest.mark.parametrize('rule', ['oldest', 'redundant', 'unused', 'merge'])
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


@pytest.mark.parametrize(
  'storage',
  ['compute', *(pytest.param(x, marks=pytest.mark.slow) for x in PACKED)],
)
def test_merging_equal_frames_is_evicting_one(storage):
  """The merged frame is the one that stays, and no other frame changes."""
  equal = jnp.stack([random_chunk(0)[:, :, 0]] * FRAMES, 2)
  bank = empty(storage, counted=True)
  for i in range(SLOTS // FRAMES):
    bank = add(bank, i * FRAMES, random_chunk(i) if i else equal)
  slot_BF, into_BF = _merged(bank)
  assert bank.frame_BE[0, slot_BF[0, 0]] == 0  # frames 0 and 1 are equal
  assert bank.frame_BE[0, into_BF[0, 0]] == 1
  done = bank_lib.merge(bank, slot_BF[:, :1], into_BF[:, :1])
  for x, y in zip(
    jax.tree.leaves(done.memory), jax.tree.leaves(bank.memory), strict=True
  ):
    np.testing.assert_allclose(x, y, rtol=1e-6)
  assert done.count_BE[0, into_BF[0, 0]] == 2
  assert done.count_BE.sum() == bank.count_BE.sum() + BATCH


def test_a_merged_frame_is_the_mean_of_all_that_it_holds():
  bank = filled(4, 'merge')
  slot_BF = jnp.array([[0, 1]] * BATCH)
  into_BF = jnp.array([[1, 2]] * BATCH)  # 0 into 1, and both into 2
  done = bank_lib.merge(bank, slot_BF, into_BF)
  for x, y in (
    (done.memory.key.data, bank.memory.key.data),
    (done.memory.value.data, bank.memory.value.data),
    (done.memory.descriptor, bank.memory.descriptor),
  ):
    np.testing.assert_allclose(x[:, :, 2], y[:, :, :3].mean(2), atol=1e-6)
    np.testing.assert_array_equal(x[:, :, 3:], y[:, :, 3:])
  assert done.count_BE[0].tolist() == [1, 2, 3, 1, 1, 1, 1, 1]
  none_BF = jnp.full((BATCH, FRAMES), SLOTS)
  jax.tree.map(
    np.testing.assert_array_equal,
    bank_lib.merge(bank, slot_BF, none_BF),
    bank,
  )


def test_what_does_not_leave_the_bank_is_not_merged():
  bank = filled(3, 'merge')  # two slots are empty
  _, into_BF = _merged(bank, start=6)
  assert (into_BF == SLOTS).all()
  protected_BE = bank.frame_BE < 7  # all but one frame outside the window
  slot_BF = jnp.array([[2, 3]] * BATCH)
  into_BF = evict.merge_slots(
    filled(4, 'merge'),
    slot_BF,
    jnp.full(BATCH, 12),
    window=WINDOW,
    protected_BE=protected_BE,
  )
  assert (into_BF == SLOTS).all()


def _merged(bank, start=8):
  start_B = jnp.full(BATCH, start)
  slot_BF = evict.choose_slots(
    bank, start_B, frames=FRAMES, window=WINDOW, evict='merge'
  )
  return slot_BF, evict.merge_slots(bank, slot_BF, start_B, window=WINDOW)


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
