"""The bank: reserved slots are hidden, written slots can be read."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.memory import bank as bank_lib
from tests.memory.banks import (
  BATCH,
  FRAMES,
  add,
  empty,
  filled,
  random_chunk,
)


def test_what_is_written_can_be_read():
  bank, k = filled(2), random_chunk(1)
  slot = int(jnp.argmax(bank.frame_BE[0] == 3))
  np.testing.assert_array_equal(bank.memory.key.data[:, 0, slot], k[:, 0, 1])
  np.testing.assert_array_equal(
    bank.memory.value.data[:, 0, slot], 2 * k[:, 0, 1]
  )
  np.testing.assert_allclose(
    bank.memory.descriptor[:, 0, slot], k[:, 0, 1].mean(1), rtol=1e-6
  )


def test_reserved_slots_hide_what_they_held():
  bank = filled(4)
  slot_BF = jnp.array([[0, 1]] * BATCH)
  bank = bank_lib.reserve(
    bank, slot_BF, jnp.full(BATCH, 8), jnp.ones(BATCH, jnp.int32)
  )
  assert not bank.valid_BE[:, :2].any() and bank.valid_BE[:, 2:].all()
  assert bank.frame_BE[0, :2].tolist() == [8, 9]


def test_a_chunk_before_the_first_is_written_nowhere():
  bank = empty()
  after = bank_lib.write(
    bank, jnp.full(BATCH, -FRAMES), random_chunk(0), random_chunk(1)
  )
  jax.tree.map(np.testing.assert_array_equal, after, bank)


@pytest.mark.parametrize(
  ('storage', 'share', 'steps'),
  # errors: a share of the number itself, and of its channel's largest one
  [('fp8', 1 / 16, 1e-5), ('int4', 0, 0.51 / 7)],
)
def test_channels_have_scales_of_their_own(storage, share, steps):
  sizes = jnp.array([1e-3, 1.0, 1e3, 0.0]).reshape(1, 1, 1, 1, 1, 4)
  k = random_chunk(0) * sizes  # by channel
  packed = bank_lib.store(k, storage)
  assert packed.storage == storage and packed.data.dtype.itemsize == 1
  assert packed.data.size == k.size // (1 if storage == 'fp8' else 2)
  error = jnp.abs(bank_lib.load(packed, jnp.float32) - k)
  most = jnp.abs(k).max(-3, keepdims=True)
  assert (error <= share * jnp.abs(k) + steps * most + 1e-9).all()
  assert error.max() > 0
  bank = add(empty(storage), 0, k)
  slot = int(jnp.argmax(bank.frame_BE[0] == 1))
  stored = jax.tree.map(lambda x: x[:, 0, slot], bank.memory.key)
  np.testing.assert_array_equal(
    bank_lib.load(stored, jnp.float32),
    bank_lib.load(packed, jnp.float32)[:, 0, 1],
  )


def test_writes_in_float32_are_int8_close():
  k = random_chunk(0)
  packed = bank_lib.store(k, 'int8')
  assert packed.data.dtype == jnp.int8
  error = jnp.abs(bank_lib.load(packed, jnp.float32) - k)
  bound = jnp.abs(k).max(-1, keepdims=True) / 254 + 1e-6
  assert (error <= bound).all()
  bank = add(empty('int8'), 0, k)
  assert bank.memory.key.data.dtype == jnp.int8
