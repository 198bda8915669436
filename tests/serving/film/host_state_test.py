"""States copied to the host and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.serving.film import host_state


def _state():
  return {'key': jax.random.split(jax.random.key(3), 2), 'x': jnp.ones((2, 3))}


def test_a_state_comes_back_with_its_keys():
  state = _state()
  host = host_state.to_host(state)
  assert all(type(array) is np.ndarray for array in host.values())
  back = host_state.to_device(host, jax.eval_shape(_state))
  np.testing.assert_array_equal(back['x'], state['x'])
  assert (back['key'] == state['key']).all()


def test_the_bytes_are_those_of_the_copy():
  size = sum(x.nbytes for x in host_state.to_host(_state()).values())
  assert host_state.host_bytes(jax.eval_shape(_state)) == size


def test_the_state_of_another_model_is_refused():
  host = host_state.to_host(_state())
  with pytest.raises(UserError, match='another model'):
    host_state.to_device(host, {'x': jnp.ones((2, 3))})
  with pytest.raises(UserError, match=r'x has the shape \(2, 3\), not \(3,\)'):
    host_state.to_device(host, _state() | {'x': jnp.ones(3)})


def test_an_archive_comes_back_to_host_memory():
  state = {'archive': jnp.ones(3), 'x': jnp.ones(3)}
  back = host_state.to_device(host_state.to_host(state), state)
  assert back['archive'].sharding.memory_kind == 'pinned_host'
  assert back['x'].sharding.memory_kind == state['x'].sharding.memory_kind
