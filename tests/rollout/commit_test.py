"""Separate and fused commits make the same film with a full bank; `reuse` does
not.
"""

import jax
import numpy as np
import pytest


@pytest.mark.slow
@pytest.mark.parametrize(
  'overrides',
  [
    {'memory__evict': 'oldest', 'rollout__guidance': 1.0},
    {'memory__evict': 'redundant', 'memory__reroute': 'chunk'},
    {'memory__evict': 'unused', 'memory__cfg_routing': 'own'},
    {'memory__policy': 'random', 'rollout__sampler': 'few_step'},
    {'memory__dtype': 'int4', 'rollout__guidance': 1.0},
    {'memory__scope': 'head', 'dit__gate': True},
    {'memory__policy': 'rag', 'rollout__guidance': 1.0},
  ],
  ids=lambda overrides: '-'.join(str(v) for v in overrides.values()),
)
def test_fused_is_separate(studio, overrides):
  separate, fused = (
    studio(rollout__commit=commit, **overrides).film()
    for commit in ('separate', 'fused')
  )
  assert separate[0].bank.frame_BE.min() >= 0  # full: frames were evicted
  np.testing.assert_array_equal(separate[1].frame_JLBR, fused[1].frame_JLBR)
  np.testing.assert_allclose(
    separate[1].latents_BFYXC, fused[1].latents_BFYXC, atol=1e-5
  )
  np.testing.assert_array_equal(
    *(jax.device_get(state.bank.frame_BE) for state, _ in (separate, fused))
  )


@pytest.mark.slow
def test_reuse_keeps_what_the_last_pass_left(studio):
  one = studio(
    rollout__commit='reuse', rollout__sampler='few_step', rollout__guidance=1.0
  )
  chunk = jax.tree.map(lambda x: x[0], one.chunks())

  @jax.jit
  def both(params):
    state = one.begin()
    after, output, last = one.step.roll(params, state, chunk)
    opened = one.step.begin_chunk(params, state, chunk)
    again, branches = one.step.replay(params, opened, chunk, last)
    written = one.step.passes.write(opened, opened.start_B, branches)
    clean = one.step.commit(params, state, chunk, output.latents_BFYXC)
    keys = [s.bank.memory.key.data for s in (after, written, clean)]
    return output.latents_BFYXC, again, *keys

  film, again, key, written, clean = both(one.params)
  np.testing.assert_allclose(film, again, atol=1e-5)
  np.testing.assert_allclose(key, written, atol=1e-5)
  assert np.abs(key - clean).max() > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize(('dtype', 'most'), [('int8', 0.05), ('fp8', 0.2)])
def test_packed_memory_is_close(studio, dtype, most):
  plain, packed = (
    studio(memory__dtype=one, rollout__guidance=1.0).film()[1]
    for one in ('compute', dtype)
  )
  same = np.asarray(plain.frame_JLBR == packed.frame_JLBR)
  assert same.mean() > 0.95
  error = np.abs(plain.latents_BFYXC - packed.latents_BFYXC)[:2]
  assert 0 < error.max() < most
