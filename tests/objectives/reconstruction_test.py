import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig
from cinejax.objectives import reconstruction

PLAIN = {'tile': 0, 'tile_overlap': 0, 'compute_dtype': 'float32'}
CODEC = make_codec(CodecConfig('patch', 4, 8, 4, width=32, blocks=1, **PLAIN))


def _batch():
  """A light square that moves over a ramp: uint8 [4, 5, 16, 16, 3]."""
  video_BTYXC = np.zeros((4, 5, 16, 16, 3), np.uint8)
  video_BTYXC += np.arange(0, 160, 10, dtype=np.uint8)[:, None]
  for b in range(4):
    for t in range(5):
      video_BTYXC[b, t, 4:9, b + t : b + t + 5] = (250, 200, 60 * b)
  return {'video': video_BTYXC}


def _fitted():
  measured = CODEC.measure(_batch()['video'])
  return CODEC.fit(jax.jit(CODEC.init)(jax.random.key(0)), measured)


def test_psnr_is_that_of_bytes():
  video = np.full((2, 1, 8, 8, 3), 100, np.uint8)
  off = video + np.array([1, 10], np.uint8)[:, None, None, None, None]
  decibels_B = reconstruction.psnr(
    *(jnp.asarray(x, jnp.float32) / 127.5 - 1.0 for x in (off, video))
  )
  expected_B = 20 * np.log10(255 / np.array([1.0, 10.0]))
  np.testing.assert_allclose(decibels_B, expected_B, atol=1e-3)


def test_no_gradient_reaches_what_is_measured():
  params = _fitted()
  loss_fn = reconstruction.make_reconstruction_loss(CODEC)
  grads, _ = jax.jit(jax.grad(loss_fn, has_aux=True))(
    params, _batch(), jax.random.key(1)
  )
  assert not grads['mean_C'].any() and not grads['std_C'].any()
  assert not any(g.any() for g in jax.tree.leaves(grads['encoder']))
  assert np.abs(grads['decoder']['linear']['kernel']).max() > 0
  assert np.abs(grads['decoder']['patch']['kernel']).max() > 0


def test_a_short_training_brings_the_picture_back():
  params = _fitted()
  loss_fn = reconstruction.make_reconstruction_loss(CODEC)
  optimizer = optax.adam(5e-3)

  @jax.jit
  def step(params, state, key):
    (_, metrics), grads = jax.value_and_grad(loss_fn, has_aux=True)(
      params, _batch(), key
    )
    updates, state = optimizer.update(grads, state)
    return optax.apply_updates(params, updates), state, metrics

  state, before = optimizer.init(params), None
  for i in range(150):
    params, state, metrics = step(params, state, jax.random.key(i))
    before = metrics if before is None else before
  assert metrics['psnr'] > before['psnr'] + 6.0 > 20.0
  assert 0.7 < metrics['latent_std'] < 1.4
