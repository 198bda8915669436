import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.interop import tensors

TREE = {
  'net': {
    'kernel': np.arange(6, dtype=np.float32).reshape(2, 3),
    'bias': jnp.arange(3, dtype=jnp.bfloat16) / 3,
  },
  'steps': np.int32(7),
}


def test_round_trip_keeps_names_types_values_and_metadata(tmp_path):
  path = tmp_path / 'new' / 'a.safetensors'
  tensors.save_tree(path, TREE, {'config': '{}', 'steps': '7'})
  tree, metadata = tensors.load_tree(path)
  assert metadata == {'config': '{}', 'steps': '7'}
  assert set(tree) == {'net', 'steps'} and set(tree['net']) == set(TREE['net'])
  np.testing.assert_array_equal(tree['net']['kernel'], TREE['net']['kernel'])
  assert tree['net']['bias'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(
    tree['net']['bias'].astype(np.float32),
    np.asarray(TREE['net']['bias'], np.float32),
  )
  assert tree['steps'].shape == () and tree['steps'].dtype == np.int32


def test_dtype_changes_floating_leaves_only(tmp_path):
  path = tmp_path / 'a.safetensors'
  tensors.save_tree(path, TREE, {}, dtype=jnp.bfloat16)
  tree, _ = tensors.load_tree(path)
  assert tree['net']['kernel'].dtype == jnp.bfloat16
  assert tree['steps'].dtype == np.int32


def test_a_view_is_stored_as_it_reads(tmp_path):
  path = tmp_path / 'a.safetensors'
  array = np.arange(12.0).reshape(3, 4)
  tensors.save_tree(path, {'a': array.T[::-1]}, {})
  np.testing.assert_array_equal(tensors.load_tree(path)[0]['a'], array.T[::-1])


def test_names_that_collide_are_refused(tmp_path):
  with pytest.raises(ValueError, match='a/b'):
    tensors.save_tree(tmp_path / 'a', {'a': {'b': 1.0}, 'a/b': 2.0}, {})


def test_bad_files_are_named(tmp_path):
  with pytest.raises(UserError, match='no weights file'):
    tensors.load_tree(tmp_path / 'none.safetensors')
  path = tmp_path / 'a.safetensors'
  tensors.save_tree(path, TREE, {})
  path.write_bytes(path.read_bytes()[:-4])
  with pytest.raises(UserError, match='not a whole safetensors'):
    tensors.load_tree(path)
