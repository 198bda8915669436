"""Parameter trees: paths of leaves, size, precision and moving average.

A tree is a pytree of arrays; a leaf's path joins its keys with '/', as in
`blocks/q/kernel`, the name that weights files and PARAM_RULES use.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

Tree = Any  # a pytree of arrays


def paths(tree: Tree) -> dict[str, Any]:
  """The leaves of `tree` by path, in the order of `jax.tree.leaves`."""
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: tuple[Any, ...]) -> str:
  """A key path of jax.tree_util as one name joined with '/'."""
  return jax.tree_util.keystr(path, simple=True, separator='/')


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
  """The nested dict whose `paths` are `flat`."""
  tree: dict[str, Any] = {}
  for name, leaf in flat.items():
    *branches, last = name.split('/')
    node = tree
    for branch in branches:
      node = node.setdefault(branch, {})
    node[last] = leaf
  return tree


def count(tree: Tree) -> int:
  """The number of elements in the tree's arrays (or shapes)."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def cast(tree: Tree, dtype: Any) -> Tree:
  """Casts floating-point leaves to `dtype`; other leaves are unchanged."""

  def leaf(x: jax.Array) -> jax.Array:
    return x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x

  return jax.tree.map(leaf, tree)


def ema(average: Tree, tree: Tree, decay: jax.Array | float) -> Tree:
  """decay · average + (1 − decay) · tree, in the average's precision."""
  return jax.tree.map(
    lambda a, x: a + (1 - decay) * (x.astype(a.dtype) - a), average, tree
  )
