"""Small banks for the tests of memory."""

import functools

import jax
import jax.numpy as jnp

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict

LAYERS, BATCH, SLOTS, TOKENS, HEADS, FEATURES = 2, 2, 8, 3, 2, 4
FRAMES, WINDOW = 2, 4


def empty(storage='compute', counted=False):
  return bank_lib.empty(
    layers=LAYERS,
    batch=BATCH,
    frames=SLOTS,
    tokens=TOKENS,
    heads=HEADS,
    features=FEATURES,
    dtype=jnp.float32,
    storage=storage,
    counted=counted,
  )


def random_chunk(seed):
  """Random keys of a chunk; the values are twice as large."""
  shape = (LAYERS, BATCH, FRAMES, TOKENS, HEADS, FEATURES)
  return jax.random.normal(jax.random.key(seed), shape)


@functools.partial(jax.jit, static_argnames='rule')
def add(bank, start, k, rule='oldest'):
  """Stores a chunk that starts at frame `start`."""
  start_B = jnp.full(BATCH, start)
  slot_BF = evict.choose_slots(
    bank, start_B, frames=FRAMES, window=WINDOW, evict=rule
  )
  if rule == 'merge':
    into_BF = evict.merge_slots(bank, slot_BF, start_B, window=WINDOW)
    bank = bank_lib.merge(bank, slot_BF, into_BF)
  bank = bank_lib.reserve(bank, slot_BF, start_B, jnp.zeros(BATCH, jnp.int32))
  return bank_lib.write(bank, start_B, k, 2 * k)


def filled(chunks, rule='oldest', keys=random_chunk):
  """A bank to which so many chunks were added."""
  bank = empty(counted=rule == 'merge')
  for i in range(chunks):
    bank = add(bank, i * FRAMES, keys(i), rule)
  return bank
