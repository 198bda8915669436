"""Trees of arrays as safetensors files.

A nested dict is stored flat, with keys joined by '/'. The metadata is a flat
dict of strings: config, steps, figures. In numpy, bfloat16 is
ml_dtypes.bfloat16, which importing jax registers.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path


def save_tree(
  path: str | os.PathLike,
  tree: Mapping[str, Any],
  metadata: Mapping[str, str],
  dtype: Any = None,
) -> None:
  """Writes `tree` to `path`, whole or not at all.

  Args:
    path: of the safetensors file; missing folders are created.
    tree: nested dict of arrays or scalars; its keys have no '/'.
    metadata: strings, stored in the header.
    dtype: type in which floating leaves are stored; None: their own.

  Raises:
    ValueError: two leaves would share a name.
  """
  flat = {}
  for steps, leaf in jax.tree_util.tree_leaves_with_path(tree):
    name = jax.tree_util.keystr(steps, simple=True, separator='/')
    if name in flat:
      raise ValueError(f'two leaves of the tree are named {name}')
    flat[name] = _stored(leaf, dtype)
  with atomic_path(path) as partial:
    save_file(flat, partial, metadata=dict(metadata))


def load_tree(
  path: str | os.PathLike,
) -> tuple[dict[str, Any], dict[str, str]]:
  """Reads a nested dict of numpy arrays, in their stored types, and metadata.

  Raises:
    UserError: there is no such file, or it is not a whole safetensors file.
  """
  if not pathlib.Path(path).is_file():
    raise UserError(f'there is no weights file {path}; check the path')
  try:
    with safe_open(path, 'np') as file:
      metadata = file.metadata() or {}
    flat = load_file(path)
  except (SafetensorError, OSError) as error:
    raise UserError(
      f'{path} is not a whole safetensors file ({error}); fetch or make it '
      'again'
    ) from error
  return tree_lib.nested(flat), metadata


def _stored(leaf: Any, dtype: Any) -> np.ndarray:
  array = np.asarray(leaf)
  if dtype is not None and jax.numpy.issubdtype(array.dtype, np.floating):
    array = array.astype(dtype)
  # the format needs C order; ascontiguousarray would turn scalars to vectors
  return np.array(array, order='C')
