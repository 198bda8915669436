"""Eight-bit products and attention: what they round, and what they do not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.models import fp8
from cinejax.models.attention import attend


def _error(x, exact):
  return float(jnp.linalg.norm(x - exact) / jnp.linalg.norm(exact))


def test_a_product_has_a_scale_for_each_token_and_column():
  keys = jax.random.split(jax.random.key(0), 2)
  x = jax.random.normal(keys[0], (2, 5, 64)).at[0, 0].mul(1e6)
  kernel = jax.random.normal(keys[1], (64, 96)).at[:, 3].mul(1e-6)
  params = {'blocks': {'mlp_in': {'kernel': kernel, 'bias': kernel[0]}}}
  layer = fp8.quantized(params)['blocks']['mlp_in']
  assert layer[fp8.KERNEL].dtype == fp8.E4M3
  assert layer[fp8.KERNEL].shape == (96, 64) and layer[fp8.SCALE].shape == (96,)
  y = fp8.product(x, layer[fp8.KERNEL], layer[fp8.SCALE], jnp.float32, False)
  error = np.abs(y - x @ kernel)
  sizes = (
    jnp.linalg.norm(x, axis=-1)[..., None],
    jnp.linalg.norm(kernel, axis=0),
  )
  assert 0 < (error / (sizes[0] * sizes[1][None, None])).max() < 0.02


def test_attention_in_eight_bits_is_close_and_only_of_a_full_context():
  keys = jax.random.split(jax.random.key(0), 3)
  q, k, v = (jax.random.normal(key, (2, 12, 2, 32)) for key in keys)
  eight = functools.partial(attend, precision='fp8')
  full = jnp.array([12, 12])
  assert 0 < _error(eight(q, k, v, full), attend(q, k, v, full)) < 0.08
  part = jnp.array([12, 7])
  np.testing.assert_array_equal(eight(q, k, v, part), attend(q, k, v, part))
