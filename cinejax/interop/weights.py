"""Weights files as the parameters of a network that is already known.

Files hold what was trained in whatever precision; here they are checked,
name by name and shape by shape, against the network that is to use them.
"""

import os
from typing import Any

import jax
import numpy as np

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.interop.tensors import load_tree
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.models.codec.taef2 import load_taef2
from cinejax.models.config import CodecConfig


def load_params(path: str | os.PathLike, like: Any) -> dict[str, Any]:
  """The tree in the file, in the types of `like`.

  Args:
    path: of a safetensors file.
    like: nested dict of arrays or their shapes: the network's parameters.

  Raises:
    UserError: the file is missing, broken, or of another network.
  """
  loaded, _ = load_tree(path)
  wanted, found = tree.paths(like), tree.paths(loaded)
  for name in sorted(wanted.keys() | found.keys()):
    want, have = (
      tuple(side[name].shape) if name in side else None
      for side in (wanted, found)
    )
    if want != have:
      raise UserError(
        f'{path} does not fit this config: {name} is {have or "missing"} in '
        f'the file and {want or "missing"} in the network; take the config '
        'that it was trained with'
      )
  return jax.tree.map(lambda want, x: np.asarray(x, want.dtype), like, loaded)


def load_codec(
  cfg: CodecConfig, path: str | os.PathLike
) -> tuple[Codec, dict[str, Any]]:
  """The codec of `cfg` with its float32 parameters.

  `path` is a safetensors file or, for taef2, the folder of its two files;
  errors as in `load_params`.
  """
  codec = make_codec(cfg)
  if cfg.name == 'taef2':
    return codec, load_taef2(path)
  return codec, load_params(path, jax.eval_shape(codec.init, jax.random.key(0)))
