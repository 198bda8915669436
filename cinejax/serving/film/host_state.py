"""A film's state on the host: plain arrays by name.

Device states are donated from chunk to chunk; what is to outlive a chunk, to
be gone back to or written to disk, is copied here. Typed PRNG keys are kept
as their words.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError

HostState = dict[str, np.ndarray]  # by path


def to_host(state: Any) -> HostState:
  """A copy of every array of the pytree `state`."""
  return {
    path: np.array(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    for path, leaf in tree_lib.paths(state).items()
  }


def to_device(host: HostState, like: Any) -> Any:
  """The pytree that `to_host` copied; `like` is one of its kind, or shapes.

  Raises UserError where the two do not fit.
  """
  wanted = tree_lib.paths(like)
  if wanted.keys() != host.keys():
    raise UserError('this state is of another model; its journal is not')

  def place(path: str) -> jax.Array:
    leaf, array = wanted[path], host[path]
    shape = array.shape[:-1] if _is_key(leaf) else array.shape
    if shape != leaf.shape:
      raise UserError(
        f'this state is of another model: {path} is {shape}, not {leaf.shape}'
      )
    # a copy, even where device memory is the host's: states are donated
    made = jnp.array(array, copy=True)
    return jax.random.wrap_key_data(made) if _is_key(leaf) else made

  return jax.tree.unflatten(jax.tree.structure(like), map(place, wanted))


def host_bytes(like: Any) -> int:
  """Of a state, or of the shapes of one."""
  leaves = jax.tree.leaves(jax.eval_shape(_unkeyed, like))
  return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def _unkeyed(state: Any) -> Any:
  return jax.tree.map(
    lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state
  )


def _is_key(leaf: Any) -> bool:
  return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
