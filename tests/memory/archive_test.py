"""A film with an archive is that of a bank that holds as many frames."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.memory import archive, evict
from cinejax.memory import bank as bank_lib
from cinejax.models import gathering
from cinejax.rollout.scan import make_scan
from cinejax.rollout.stream import stream
from tests.memory.banks import FRAMES, WINDOW, random_chunk
from tests.rollout.conftest import SHAPE, TEXT, make_studio

SLOTS, ARCHIVED = 12, 8
CHUNKS = 9  # of 3 frames: the archive gets full too
UNGUIDED = {'rollout__guidance': 1.0}


def _studios(archived=ARCHIVED, **overrides):
  """The same memory in one bank, and in a bank of 12 frames."""
  overrides = {'memory__routed_frames': 3} | overrides
  return (
    make_studio(memory__bank_frames=SLOTS + archived, **overrides),
    make_studio(
      memory__bank_frames=SLOTS,
      memory__archive='host',
      memory__archive_frames=archived,
      **overrides,
    ),
  )


def _streamed(one, chunks):
  """The chunks of a film, and copies of the bank's table before each."""
  scan_fn, outputs, tables = make_scan(one.step), [], []
  begin = one.begin((5,))
  sizes = _device_bytes(begin)
  tables.append(np.array(begin.bank.frame_BE))
  inputs = [jax.tree.map(lambda x, i=i: x[i], chunks) for i in range(CHUNKS)]
  for state, output in stream(scan_fn, one.params, begin, inputs):
    outputs.append(jax.tree.map(np.array, output))
    tables.append(np.array(state.bank.frame_BE))
    assert _device_bytes(state) == sizes  # does not grow with the film
  assert scan_fn._cache_size() == 1  # one program for all chunks
  return jax.tree.map(lambda *x: np.stack(x), *outputs), tables, state


def _device_bytes(state):
  """The bytes of each array of `state` that is not in host memory."""
  return {
    jax.tree_util.keystr(path): x.nbytes
    for path, x in jax.tree_util.tree_leaves_with_path(state)
    if x.sharding.memory_kind != 'pinned_host'
  }


@pytest.mark.slow
def test_a_film_is_that_of_a_larger_bank_bit_for_bit():
  big, small = _studios(**UNGUIDED)
  chunks = small.chunks(CHUNKS, batch=1)
  whole, (*_, held), _ = _streamed(big, chunks)
  parts, tables, state = _streamed(small, chunks)
  np.testing.assert_array_equal(whole.frame_JLBR, parts.frame_JLBR)
  np.testing.assert_array_equal(whole.latents_BFYXC, parts.latents_BFYXC)
  # Frames moved to the archive, and were forgotten once it was full.
  assert sorted(tables[-1][0]) == sorted(held[0])
  assert len(held[0]) == SLOTS + ARCHIVED < CHUNKS * SHAPE[0]
  memory = state.bank.memory
  assert memory.key.data.shape[2] == SLOTS
  assert memory.archive.key.data.sharding.memory_kind == 'pinned_host'
  # Archived frames were read.
  reads = sum(
    (np.isin(routed, table[:, SLOTS:]) & (routed != bank_lib.EMPTY)).sum()
    for routed, table in zip(parts.frame_JLBR, tables[:-1], strict=True)
  )
  assert reads > 10
  # A scan of all chunks is the same film.
  _, scanned = make_scan(small.step)(small.params, small.begin((5,)), chunks)
  np.testing.assert_array_equal(scanned.frame_JLBR, parts.frame_JLBR)
  np.testing.assert_allclose(
    scanned.latents_BFYXC, parts.latents_BFYXC, atol=1e-5
  )


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides',
  [
    {'memory__policy': 'uniform'} | UNGUIDED,
    {'memory__policy': 'shot_sink', 'memory__evict': 'oldest'} | UNGUIDED,
    {'memory__policy': 'random', 'memory__evict': 'unused'} | UNGUIDED,
    {'memory__policy': 'sink', 'memory__dtype': 'int8'} | UNGUIDED,
    {'memory__policy': 'rag', 'dit__gate': True} | UNGUIDED,
    {'memory__policy': 'window'} | UNGUIDED,
    {'memory__scope': 'shared', 'memory__dtype': 'int4'} | UNGUIDED,
    {'memory__cfg_routing': 'own', 'memory__dtype': 'fp8'},
    {'rollout__commit': 'reuse', 'rollout__sampler': 'few_step'} | UNGUIDED,
  ],
  ids=lambda overrides: '-'.join(str(v) for v in overrides.values()),
)
def test_every_policy_and_storage_makes_the_same_film(overrides):
  _assert_same_scan(_studios(**overrides))


@pytest.mark.slow
def test_a_cast_that_fills_the_bank_makes_the_same_film():
  pair = _studios(archived=14, **UNGUIDED)
  states = []
  for one in pair:
    state, admit = one.begin(), jax.jit(one.step.admit)
    for picture in range(SLOTS // SHAPE[0]):
      key = jax.random.key(picture)
      given = (jax.random.normal(key, (2, *shape)) for shape in (TEXT, SHAPE))
      state = admit(one.params, state, jnp.int32(picture), *given)
    states.append(state)
  routed = _assert_same_scan(pair, states)
  pictures = -1 - SHAPE[0] - np.arange(SLOTS)
  assert np.isin(routed[1:], pictures).any()  # some are in the archive by then


def _assert_same_scan(pair, states=(None, None)):
  """Returns the frames that were routed."""
  (big, whole), (state, parts) = (
    make_scan(one.step)(one.params, state or one.begin(), one.chunks(CHUNKS))
    for one, state in zip(pair, states, strict=True)
  )
  np.testing.assert_array_equal(whole.frame_JLBR, parts.frame_JLBR)
  np.testing.assert_array_equal(whole.latents_BFYXC, parts.latents_BFYXC)
  assert sorted(state.bank.frame_BE[0]) == sorted(big.bank.frame_BE[0])
  archived = np.asarray(state.bank.frame_BE[:, SLOTS:])
  assert (archived != bank_lib.EMPTY).all()
  return np.asarray(parts.frame_JLBR)


@pytest.mark.parametrize(
  ('overrides', 'words'),
  [
    ({'memory__policy': 'full'}, 'reads all frames'),
    ({'memory__evict': 'merge'}, 'changes frames'),
    ({'memory__scope': 'head'}, 'needs layer or shared'),
    ({'memory__reencode': True}, 'from an empty bank'),
    ({'rollout__commit': 'fused'}, 'needs separate or reuse'),
    ({'mesh__tensor': 2}, 'which one device'),
  ],
)
def test_what_an_archive_does_not_go_with(overrides, words):
  with pytest.raises(UserError, match=words):
    make_studio(memory__archive='host', **overrides)


@functools.partial(jax.jit, donate_argnums=0)
def _add(bank, start, k):
  """Stores a chunk; what has no room on the device goes to the archive."""
  start_B = jnp.full(bank.frame_BE.shape[0], start)
  slot_BF = evict.choose_slots(
    bank, start_B, frames=FRAMES, window=WINDOW, evict='oldest'
  )
  (bank,), slot_BF = archive.make_room([bank], slot_BF, start_B - WINDOW)
  bank = bank_lib.reserve(bank, slot_BF, start_B, jnp.zeros_like(start_B))
  return bank_lib.write(bank, start_B, k, 2 * k)


@jax.jit
def _read_all(bank):
  """The values of all frames in time order, [L, B, E + A, P, H, K]."""
  memory = bank.memory
  slot_BE = jnp.argsort(bank.frame_BE, -1)
  layers = memory.key.data.shape[0]

  def read(layer):
    here = jax.tree.map(lambda x: x[layer], memory.replace(archive=None))
    here = here.replace(archive=memory.archive.replace(layer=layer))
    slot_BSM = slot_BE[:, None]
    return gathering.picked(here, 'value', slot_BSM, jnp.float32, 6)[:, 0]

  return jnp.stack([read(layer) for layer in range(layers)])


def test_frames_move_in_time_order_and_none_is_lost():
  keys = [random_chunk(seed) for seed in range(8)]
  layers, batch, _, tokens, heads, features = keys[0].shape
  bank = bank_lib.empty(
    layers=layers,
    batch=batch,
    frames=8,
    tokens=tokens,
    heads=heads,
    features=features,
    dtype=jnp.float32,
    archive=6,
  )
  # two given pictures of F = 2 frames, then 5 chunks
  starts = [bank_lib.picture_start(n, FRAMES) for n in (1, 0)]
  starts += range(0, 10, FRAMES)
  for start, k in zip(starts, keys, strict=False):
    bank = _add(bank, start, k)
  # One picture moved, because the other and the window filled the device.
  # Since then, the earliest frames of the film have moved.
  assert sorted(bank.frame_BE[0, :8].tolist()) == [-4, -3, *range(4, 10)]
  assert bank.frame_BE[0, 8:].tolist() == [-6, -5, 0, 1, 2, 3]
  np.testing.assert_array_equal(
    _read_all(bank), 2 * jnp.concatenate(keys[:7], axis=2)
  )
  # The earliest frames are forgotten next, and pictures are not.
  bank = _add(bank, 10, keys[7])
  assert sorted(bank.frame_BE[0].tolist()) == [*range(-6, -2), *range(2, 12)]
