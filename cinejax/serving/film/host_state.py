"""Copies the state of a film between devices and host.

States on devices are donated from chunk to chunk. A state that is needed later,
to rewind the film or to save it, is copied to the host as plain arrays by name;
typed PRNG keys become their integers.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.memory.bank import HOST
from cinejax.rollout import host_leaves

HostState = dict[str, np.ndarray]  # by path


class Snapshot(NamedTuple):
  """The state of a film between two chunks."""

  state: HostState
  decoder: HostState


def to_host(state: Any) -> HostState:
  """A copy of every array of the pytree `state`."""
  return {
    path: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    for path, leaf in tree_lib.paths(state).items()
  }


def to_device(host: HostState, like: Any) -> Any:
  """The pytree that `to_host` copied.

  Args:
    host: the arrays.
    like: a pytree of the same structure, of arrays or of their shapes.

  Raises:
    UserError: if the arrays do not have the names and shapes of `like`.
  """
  wanted = tree_lib.paths(like)
  if wanted.keys() != host.keys():
    raise UserError('the saved state belongs to another model')

  def place(path: str) -> jax.Array:
    leaf, array = wanted[path], host[path]
    shape = array.shape[:-1] if _is_key(leaf) else array.shape
    if shape != leaf.shape:
      raise UserError(
        f'the saved state belongs to another model: {path} has the shape '
        f'{shape}, not {leaf.shape}'
      )
    # Always a copy, because states are donated.
    if host_leaves.is_archived(path):
      return jax.device_put(np.array(array), HOST)
    placed = jnp.array(array, copy=True)
    return jax.random.wrap_key_data(placed) if _is_key(leaf) else placed

  return jax.tree.unflatten(jax.tree.structure(like), map(place, wanted))


def host_bytes(like: Any) -> int:
  """The bytes of a state on the host, from its arrays or their shapes."""
  leaves = jax.tree.leaves(jax.eval_shape(_unkeyed, like))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _unkeyed(state: Any) -> Any:
  return jax.tree.map(
    lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state
  )


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
