"""A chunk in two calls is the chunk of one, and leaves between the two."""

import jax
import numpy as np

from cinejax.rollout.live import LiveStep, make_live

CHUNKS = 3


def test_latents_leave_before_their_commit_and_are_the_same(studio):
  one = studio(rollout__guidance=1.0)
  chunks, events = one.chunks(), []

  def noted(name, fn):
    def call(*args):
      events.append(name)
      return fn(*args)

    return call

  live = make_live(one.step, lambda fn: fn)
  live = LiveStep(noted('denoise', live.denoise_fn), noted('end', live.end_fn))
  inputs = (jax.tree.map(lambda x, i=i: x[i], chunks) for i in range(CHUNKS))
  _, whole = one.film()
  for i, latents in enumerate(live.latents(one.params, one.begin(), inputs)):
    assert events == ['denoise', 'end'] * i + ['denoise']
    np.testing.assert_allclose(latents, whole.latents_BFYXC[i], atol=1e-5)
  assert i == CHUNKS - 1
