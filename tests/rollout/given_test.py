"""Films that begin with given chunks or a given first frame."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.rollout.scan import make_scan

SHAPE = (3, 4, 4, 16)


def _latents(frames, seed=3):
  return jax.random.normal(jax.random.key(seed), (2, frames, *SHAPE[1:]))


def _rest(studio, state, start):
  chunks = jax.tree.map(lambda leaf: leaf[start:], studio.chunks(5))
  return make_scan(studio.step)(studio.params, state, chunks)


@pytest.mark.slow
def test_given_chunks_are_committed_alike_in_both_forms(studio):
  """With fused commits, a pending chunk then gets a pass of its own."""
  films = []
  for commit in ('separate', 'fused'):
    one = studio(rollout__commit=commit)
    chunks, commit_fn = one.chunks(5), jax.jit(one.step.commit)
    state = one.begin()
    for n in range(3):
      chunk = jax.tree.map(lambda leaf, n=n: leaf[n], chunks)
      state = commit_fn(one.params, state, chunk, _latents(3, seed=n))
    assert state.start_B.tolist() == [9, 9]
    films.append(_rest(one, state, 3))
  (separate, a), (fused, b) = films
  np.testing.assert_array_equal(a.frame_JLBR, b.frame_JLBR)
  np.testing.assert_allclose(a.latents_BFYXC, b.latents_BFYXC, atol=1e-5)
  np.testing.assert_array_equal(separate.bank.frame_BE, fused.bank.frame_BE)


@pytest.mark.slow
@pytest.mark.parametrize('sampler', ['euler', 'few_step'])
def test_a_given_frame_stays_and_is_seen(studio, sampler):
  one = studio(rollout__sampler=sampler, rollout__commit='fused')
  step = jax.jit(one.step)
  chunk = jax.tree.map(lambda leaf: leaf[0], one.chunks(1))
  image_BYXC = _latents(1)[:, 0]
  made = [
    step(one.params, one.begin(), chunk.replace(image_BYXC=image))[1]
    for image in (image_BYXC, -image_BYXC)
  ]
  x_BFYXC = made[0].latents_BFYXC
  np.testing.assert_array_equal(x_BFYXC[:, 0], image_BYXC)
  # the other frames of the chunk were denoised while they saw it
  other = np.abs(x_BFYXC - made[1].latents_BFYXC)[:, 1:]
  assert other.max() > 1e-3


@pytest.mark.slow
def test_a_given_frame_is_at_time_0_and_the_others_are_not(studio):
  """The network gets the time of each frame, which is 0 for clean ones."""
  one, seen = studio(rollout__guidance=1.0), []

  def denoise_fn(params, x_BSFYXC, t_BSF, *rest):
    jax.debug.callback(lambda t: seen.append(np.asarray(t)), t_BSF)
    return one.step.denoise_fn(params, x_BSFYXC, t_BSF, *rest)

  step = dataclasses.replace(one.step, denoise_fn=denoise_fn)
  chunk = jax.tree.map(lambda leaf: leaf[0], one.chunks(1))
  chunk = chunk.replace(image_BYXC=_latents(1)[:, 0])
  jax.block_until_ready(jax.jit(step)(one.params, one.begin(), chunk))
  jax.effects_barrier()
  *denoising, commit = sorted(seen, key=lambda t: -t.max())
  assert len(denoising) == 2 and not commit.any()
  for t_BSF in denoising:
    assert not t_BSF[..., 0].any() and (t_BSF[..., 1:] > 0).all()


@pytest.mark.slow
def test_unipc_is_fused_as_it_is_separate(studio):
  films = [
    studio(
      rollout__sampler='unipc', rollout__steps=4, rollout__commit=commit
    ).film()[1]
    for commit in ('separate', 'fused')
  ]
  np.testing.assert_allclose(
    films[0].latents_BFYXC, films[1].latents_BFYXC, atol=2e-5
  )
  euler = studio(rollout__steps=4).film()[1]
  assert jnp.abs(euler.latents_BFYXC - films[0].latents_BFYXC).max() > 1e-4
