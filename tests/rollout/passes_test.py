"""Frames that a sink policy reads are never evicted."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.rollout.passes import Passes
from cinejax.rollout.state import RolloutState

FRAMES, WINDOW, ROUTED, SLOTS, CHUNKS = 2, 4, 2, 8, 12


@pytest.mark.parametrize('policy', ['sink', 'shot_sink'])
def test_a_sink_stays_however_long_the_film(studio, policy):
  memory = dataclasses.replace(
    studio().cfg.memory,
    policy=policy,
    evict='oldest',
    window_frames=WINDOW,
    routed_frames=ROUTED,
    bank_frames=SLOTS,
  )
  passes = Passes(None, memory, FRAMES, 1.0, None)

  @jax.jit
  def chunk(state, shot):
    """The frames that a chunk routes, and the state after its commit."""
    state = passes.reserve_slots(state.replace(shot_B=shot[None]))
    view = passes.view(state, state.bank, state.start_B)
    rank = router.route(view, None, None, routed=ROUTED, by_content=False)
    k = jnp.ones((1, 1, FRAMES, 1, 1, 1))
    bank = bank_lib.write(state.bank, state.start_B, k, k)
    start_B = state.start_B + FRAMES
    return (
      router.routed_frames(view, rank)[0, 0],
      state.replace(bank=bank, start_B=start_B),
    )

  state = RolloutState(
    bank=bank_lib.empty(
      layers=1,
      batch=1,
      frames=SLOTS,
      tokens=1,
      heads=1,
      features=1,
      dtype=jnp.float32,
    ),
    negative=None,
    start_B=jnp.zeros(1, jnp.int32),
    shot_B=jnp.zeros(1, jnp.int32),
    key_B=jax.random.key(0)[None],
    pending=None,
    recent=None,
  )
  # shots of three chunks; a frame is in the window until V others follow it
  for n in range(CHUNKS):
    frames, state = chunk(state, jnp.int32(n // 3))
    left = range(0, max(n * FRAMES - WINDOW, 0), 3 * FRAMES)
    wanted = list(left[:1] if policy == 'sink' else left[-ROUTED:])
    assert [f for f in frames.tolist() if f >= 0] == wanted
