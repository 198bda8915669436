"""Rotary positions: what a product of queries and keys depends on."""

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.models import rope

ROWS, COLUMNS, FEATURES = 2, 3, 16  # of 16 features 8 are time's, 4 rows'


def _scores(frames):
  """Products of one query and one key at every pair of positions."""
  q, k = jax.random.normal(jax.random.key(0), (2, FEATURES))
  turns = rope.rotations(jnp.array(frames), ROWS, COLUMNS, FEATURES)
  shape = (len(turns[0]), 1, FEATURES)
  q, k = (rope.rotate(jnp.broadcast_to(x, shape), *turns)[:, 0] for x in (q, k))
  return q @ k.T


def test_products_depend_on_distances_in_time_alone():
  np.testing.assert_allclose(_scores([0, 1, 4]), _scores([7, 8, 11]), atol=1e-4)
  assert not np.allclose(_scores([0, 1, 4]), _scores([0, 2, 4]), atol=1e-2)


def test_a_token_at_the_origin_is_not_rotated():
  x = jax.random.normal(jax.random.key(1), (2 * ROWS * COLUMNS, 2, FEATURES))
  y = rope.rotate(x, *rope.rotations(jnp.arange(2), ROWS, COLUMNS, FEATURES))
  np.testing.assert_array_equal(y[0], x[0])
  norms = (jnp.linalg.norm(z, axis=-1) for z in (x, y))
  np.testing.assert_allclose(*norms, rtol=1e-5)


def test_each_axis_rotates_its_own_features():
  """The order is time, rows, columns; a frame's tokens are row by row."""
  cos, sin = rope.rotations(jnp.array([3]), ROWS, COLUMNS, FEATURES)
  angle = np.arctan2(sin, cos)
  assert angle.shape == (ROWS * COLUMNS, FEATURES // 2)
  time, rows, columns = np.split(angle, (4, 6), 1)
  np.testing.assert_allclose(time[:, 0], 3, rtol=1e-6)
  np.testing.assert_allclose(rows[:, 0], [0, 0, 0, 1, 1, 1], rtol=1e-6)
  np.testing.assert_allclose(columns[:, 0], [0, 1, 2, 0, 1, 2], rtol=1e-6)


def test_half_precision_keeps_its_type():
  x = jnp.ones((ROWS * COLUMNS, 1, FEATURES), jnp.bfloat16)
  turns = rope.rotations(jnp.array([5]), ROWS, COLUMNS, FEATURES)
  assert rope.rotate(x, *turns).dtype == jnp.bfloat16
