"""Swaps of a past chunk: which ones change the next chunk.

Two layers with a window of two chunks see 2 * 2 chunks back. The swapped
chunk is the second, the generated one six later, as in the strict set.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

GIVEN = 7  # chunks before the one that is generated
SWAPPED = 1


def _next_chunks(one, *pasts):
  """Generates the chunk after the chunks of each past, from a fixed key."""
  commit, step = jax.jit(one.step.commit), jax.jit(one.step)
  chunks = one.chunks(GIVEN + 1)
  for past in pasts:
    state = one.begin()
    for i in range(GIVEN):
      chunk = jax.tree.map(lambda x, i=i: x[i], chunks)
      state = commit(one.params, state, chunk, past[i])
    chunk = jax.tree.map(lambda x: x[GIVEN], chunks)
    yield step(one.params, state, chunk)[1].latents_BFYXC


@pytest.mark.parametrize(
  ('overrides', 'remembers'),
  [
    pytest.param({'memory__policy': 'window'}, False, marks=pytest.mark.slow),
    pytest.param({'memory__policy': 'sink'}, False, marks=pytest.mark.slow),
    ({'memory__policy': 'camr', 'memory__routed_frames': 17}, True),
  ],
  ids=['window', 'sink', 'camr'],
)
def test_only_routing_reaches_beyond_the_window_s_relay(
  studio, overrides, remembers
):
  one = studio(rollout__guidance=1.0, memory__bank_frames=26, **overrides)
  past = jax.random.normal(jax.random.key(4), (GIVEN, 2, 3, 4, 4, 16))
  other = past.at[SWAPPED].set(-past[SWAPPED])
  same, swapped = _next_chunks(one, past, other)
  assert bool(jnp.array_equal(same, swapped)) != remembers


@pytest.mark.slow
def test_reencoding_forgets_all_but_the_window(studio):
  """Chunk 4 is outside the window, but a relay through windows reaches it."""
  past = jax.random.normal(jax.random.key(4), (GIVEN, 2, 3, 4, 4, 16))
  other = past.at[4].set(-past[4])
  relayed = []
  for reencode in (False, True):
    one = studio(
      rollout__guidance=1.0,
      memory__policy='window',
      memory__reencode=reencode,
    )
    same, swapped = _next_chunks(one, past, other)
    relayed.append(float(np.abs(same - swapped).max()))
  assert relayed[0] > 0 and relayed[1] == 0
