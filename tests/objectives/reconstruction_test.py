import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig
from cinejax.objectives import reconstruction

PLAIN = {'tile': 0, 'tile_overlap': 0, 'compute_dtype': 'float32'}
CFG = CodecConfig('patch', 4, 8, 4, width=32, blocks=1, **PLAIN)
CODEC = make_codec(CFG)
CONV = make_codec(dataclasses.replace(CFG, encoder='conv'))


def _batch():
  """A light square that moves over a ramp: uint8 [4, 5, 16, 16, 3]."""
  video_BTYXC = np.zeros((4, 5, 16, 16, 3), np.uint8)
  video_BTYXC += np.arange(0, 160, 10, dtype=np.uint8)[:, None]
  for b in range(4):
    for t in range(5):
      video_BTYXC[b, t, 4:9, b + t : b + t + 5] = (250, 200, 60 * b)
  return {'video': video_BTYXC}


def _fitted(codec=CODEC):
  measured = codec.measure(_batch()['video'])
  return codec.fit(jax.jit(codec.init)(jax.random.key(0)), measured)


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
  loss_fn = reconstruction.make_reconstruction_loss(CODEC, noise=0.1)
  grads, _ = jax.jit(jax.grad(loss_fn, has_aux=True))(
    params, _batch(), jax.random.key(1)
  )
  assert not grads['mean_C'].any() and not grads['std_C'].any()
  assert not any(g.any() for g in jax.tree.leaves(grads['encoder']))
  assert np.abs(grads['decoder']['linear']['kernel']).max() > 0
  assert np.abs(grads['decoder']['patch']['kernel']).max() > 0


def test_a_conv_encoder_is_trained_beside_what_is_measured():
  params = _fitted(CONV)
  loss_fn = reconstruction.make_reconstruction_loss(CONV, noise=0.1)
  grads, _ = jax.jit(jax.grad(loss_fn, has_aux=True))(
    params, _batch(), jax.random.key(1)
  )
  assert not grads['mean_C'].any() and not grads['std_C'].any()
  assert not any(g.any() for g in jax.tree.leaves(grads['encoder']))
  assert np.abs(grads['correction']['out']['kernel']).max() > 0


def test_noise_is_drawn_again_and_costs_some_of_the_picture():
  params = _fitted()

  @jax.jit
  def seen(key):
    """PSNR of latents with noise, and of the same without."""
    noisy, clean = (
      reconstruction.make_reconstruction_loss(CODEC, noise)(
        params, _batch(), key
      )[1]['psnr']
      for noise in (0.5, 0.0)
    )
    return noisy, clean

  noisy, clean = np.array([seen(jax.random.key(i)) for i in range(8)]).T
  assert np.ptp(clean) < 1e-4 and (noisy < clean + 0.01).all()
  assert np.ptp(noisy) > 0.5


def test_latents_out_of_place_cost():
  loss_fn = reconstruction.make_reconstruction_loss(CONV, noise=0.0)

  @jax.jit
  def loss(shift, scale):
    params = _fitted_conv | {
      'mean_C': jnp.full(4, -shift),
      'std_C': jnp.full(4, 1.0 / scale),
    }
    return loss_fn(params, _batch(), jax.random.key(0))[0]

  _fitted_conv = _fitted(CONV)
  # what decodes the same, from latents that are not standard
  right = loss(0.0, 1.0)
  for wrong in (loss(1.0, 1.0), loss(0.0, 3.0)):
    assert 0.05 < wrong - right < 0.6


@pytest.mark.parametrize('codec', [CODEC, CONV], ids=['linear', 'conv'])
def test_a_short_training_brings_the_picture_back(codec):
  params = _fitted(codec)
  loss_fn = reconstruction.make_reconstruction_loss(codec, noise=0.2)
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
