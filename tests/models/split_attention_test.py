"""Keys that are read in parts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.models import split_attention
from cinejax.models.attention import attend


@pytest.mark.parametrize('count', [2, pytest.param(3, marks=pytest.mark.slow)])
def test_parts_are_the_whole_also_where_some_have_no_valid_keys(count):
  keys = jax.random.split(jax.random.key(0), 3)
  q = jax.random.normal(keys[0], (3, 5, 2, 16))
  k, v = (3 * jax.random.normal(key, (3, 12, 2, 16)) for key in keys[1:])
  length_B = jnp.array([12, 7, 1])
  found = split_attention.attend(q, k, v, length_B, count, 'xla')
  np.testing.assert_allclose(found, attend(q, k, v, length_B), atol=1e-5)


@pytest.mark.parametrize(
  ('tokens', 'frames', 'count'),
  [
    (3 * 1560, 17, 2),  # 444 tiles: 4 rounds, or 3.5
    (1560, 15, 4),  # of a frame: 2 rounds, or 1.25
    (11 * 1560, 17, 1),  # so many that the last round does not matter
  ],
)
def test_parts_fill_the_last_round(tokens, frames, count):
  found = split_attention.parts((1, tokens, 12, 128), frames * 1560)
  assert found == count
