"""map_in_blocks is vmap, whatever the block."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.blocks import map_in_blocks


@pytest.mark.parametrize('block', [1, 3, 7, 16])
def test_equals_vmap(block):
  def distances(example):
    return jnp.linalg.norm(example['a'] - example['b'], axis=-1), example['a']

  examples = {
    name: jax.random.normal(jax.random.key(seed), (7, 4, 3))
    for seed, name in enumerate('ab')
  }
  made = jax.jit(lambda x: map_in_blocks(distances, x, block))(examples)
  for one, other in zip(made, jax.vmap(distances)(examples), strict=True):
    np.testing.assert_allclose(one, other, rtol=1e-6)


def test_can_be_nested():
  x = jnp.arange(12.0).reshape(3, 4)
  made = map_in_blocks(lambda row: map_in_blocks(jnp.sin, row, 2), x, 1)
  np.testing.assert_allclose(made, jnp.sin(x), rtol=1e-6)
