import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig
from cinejax.objectives import reconstruction

CODEC = make_codec(CodecConfig('patch', 4, 8, 4, width=32, blocks=1))


def _batch():
  """A light square that moves over a ramp: uint8 [4, 5, 16, 16, 3]."""
  video_BTYXC = np.zeros((4, 5, 16, 16, 3), np.uint8)
  video_BTYXC += np.arange(0, 160, 10, dtype=np.uint8)[:, None]
  for b in range(4):
    for t in range(5):
      video_BTYXC[b, t, 4:9, b + t : b + t + 5] = (250, 200, 60 * b)
  return {'video': video_BTYXC}


def test_psnr_is_that_of_bytes():
  video = np.full((2, 1, 8, 8, 3), 100, np.uint8)
  off = video + np.array([1, 10], np.uint8)[:, None, None, None, None]
  decibels_B = reconstruction.psnr(
    *(jnp.asarray(x, jnp.float32) / 127.5 - 1.0 for x in (off, video))
  )
  expected_B = 20 * np.log10(255 / np.array([1.0, 10.0]))
  np.testing.assert_allclose(decibels_B, expected_B, atol=1e-3)


def test_kl_is_zero_for_unit_latents_and_grows_either_way():
  z_BFYXC = jax.random.normal(jax.random.key(0), (8, 8, 16, 16, 4))
  at = {
    scale: float(reconstruction._kl(scale * z_BFYXC + shift))
    for scale, shift in ((1.0, 0.0), (0.5, 0.0), (2.0, 0.0))
  }
  assert at[1.0] < 1e-3 and min(at[0.5], at[2.0]) > 0.1
  assert float(reconstruction._kl(z_BFYXC + 1.0)) > 0.4


def test_no_gradient_reaches_the_statistics():
  params = jax.jit(CODEC.init)(jax.random.key(0))
  loss_fn = reconstruction.make_reconstruction_loss(CODEC)
  grads, _ = jax.jit(jax.grad(loss_fn, has_aux=True))(
    params, _batch(), jax.random.key(1)
  )
  assert not grads['mean_C'].any() and not grads['std_C'].any()
  rest = [
    g for name in ('encoder', 'decoder') for g in jax.tree.leaves(grads[name])
  ]
  assert all(np.abs(g).max() > 0 for g in rest)


def test_a_short_training_brings_the_picture_back():
  params = jax.jit(CODEC.init)(jax.random.key(0))
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
  assert metrics['psnr'] > 20.0 and metrics['psnr'] > before['psnr'] + 8.0
  assert 0.7 < metrics['latent_std'] < 1.4
