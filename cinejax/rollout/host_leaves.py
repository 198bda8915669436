"""The leaves of a rollout's state that are in host memory.

They are those of archives (memory/archive.py), and are known by their paths,
so that a state of shapes has them too.
"""

from collections.abc import Callable
from typing import Any

import jax

from cinejax.core import tree as tree_lib


def is_archived(path: str) -> bool:
  """Whether the leaf of a state at this path is in host memory."""
  return 'archive' in path.split('/')


def archived(tree: Any) -> list[Any]:
  """The leaves of `tree` that are in host memory."""
  return [x for path, x in tree_lib.paths(tree).items() if is_archived(path)]


def map_archived(fn: Callable[[Any], Any], tree: Any) -> Any:
  """`tree` with fn(leaf) in place of each leaf that is in host memory."""

  def leaf(path, x):
    return fn(x) if is_archived(tree_lib.path_name(path)) else x

  return jax.tree_util.tree_map_with_path(leaf, tree)


def committed(state: Any) -> Any:
  """`state`, committed to its devices as calls return it.

  The first call would otherwise be compiled apart from all others.
  """
  leaves = jax.tree.leaves(state)
  if any(isinstance(x, jax.core.Tracer) for x in leaves):
    return state
  return jax.tree.map(lambda x: jax.device_put(x, x.sharding), state)
