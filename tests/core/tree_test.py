import jax.numpy as jnp
import numpy as np

from cinejax.core import tree


def make_tree():
  return {
    'blocks': {'q': {'kernel': jnp.ones((2, 3))}},
    'step': jnp.int32(7),
  }


def test_paths_name_leaves_in_order():
  assert list(tree.paths(make_tree())) == ['blocks/q/kernel', 'step']


def test_nested_is_the_inverse_of_paths():
  back = tree.nested(tree.paths(make_tree()))
  assert list(tree.paths(back)) == ['blocks/q/kernel', 'step']
  assert back['step'] == 7 and back['blocks']['q']['kernel'].shape == (2, 3)


def test_count_includes_scalars():
  assert tree.count(make_tree()) == 7


def test_cast_leaves_integers_alone():
  cast = tree.cast(make_tree(), jnp.bfloat16)
  assert cast['blocks']['q']['kernel'].dtype == jnp.bfloat16
  assert cast['step'].dtype == jnp.int32


def test_ema_interpolates_in_the_averages_precision():
  average = {'x': jnp.float32([1.0, 2.0])}
  new = {'x': jnp.bfloat16([3.0, 2.0])}
  result = tree.ema(average, new, 0.75)['x']
  assert result.dtype == jnp.float32
  np.testing.assert_allclose(result, [1.5, 2.0])


def test_ema_of_itself_is_exact():
  average = {'x': jnp.float32([0.1, 1e-30, 3e7])}
  result = tree.ema(average, average, 0.999)['x']
  np.testing.assert_array_equal(result, average['x'])
