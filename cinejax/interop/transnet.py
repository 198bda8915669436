"""The published weights of TransNet V2 as parameters of models/transnet.py.

The file is the authors' state dict, as the .pth that their conversion script
writes or in another format that interop/archive.py reads. The second head
(`cls_layer2`, for whole transitions) is left out. The four vectors of BatchNorm
become two:

  scale = weight / sqrt(running_var + 1e-3)                               (1)
  shift = bias - running_mean scale                                       (2)
"""

import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.interop.archive import open_archive
from cinejax.models import transnet

_EPSILON = 1e-3
_UNUSED = ('cls_layer2', 'num_batches_tracked')
_NORMS = ('bn.weight', 'bn.bias', 'bn.running_mean', 'bn.running_var')


def load_transnet(path: str | os.PathLike) -> dict[str, Any]:
  """Float32 parameters of `TransNet`.

  Raises:
    UserError: the file is missing, unreadable, or of another network.
  """
  tensors = open_archive(path).tensors
  params = renamed({name: tensor[...] for name, tensor in tensors.items()})
  video = jnp.zeros((1, 2, transnet.HEIGHT, transnet.WIDTH, 3), jnp.uint8)
  like = jax.eval_shape(transnet.TransNet().init, jax.random.key(0), video)
  wanted, found = tree.paths(like['params']), tree.paths(params)
  shapes = [
    {name: leaf.shape for name, leaf in side.items()}
    for side in (wanted, found)
  ]
  if shapes[0] != shapes[1]:
    odd = sorted(set(shapes[0].items()) ^ set(shapes[1].items()))[0]
    raise UserError(
      f'{path} is not TransNet V2: {odd[0]} of shape {odd[1]} is only in '
      f'{"the network" if odd in shapes[0].items() else "the file"}; take '
      "the state dict of the authors' PyTorch version"
    )
  return params


def renamed(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Converts the names and axes of PyTorch to a nested dict of Linen's."""
  found: dict[str, Any] = {}
  for name, array in flat.items():
    if any(part in name for part in _UNUSED) or name.endswith(_NORMS[1:]):
      continue
    array = np.asarray(array, np.float32)
    module = name.rpartition('.')[0]
    if name.endswith(_NORMS[0]):
      stem = name.removesuffix(_NORMS[0])
      found |= _folded(stem, {n: flat.get(stem + n) for n in _NORMS})
    elif name.endswith('weight'):
      found[f'{_path(module)}/kernel'] = _kernel(array)
    else:
      found[f'{_path(module)}/bias'] = array
  return tree.nested(found)


def _folded(
  stem: str, norm: Mapping[str, np.ndarray | None]
) -> dict[str, np.ndarray]:
  """Eqs. (1) and (2) of one norm."""
  missing = [stem + name for name, value in norm.items() if value is None]
  if missing:
    raise UserError(
      f'the weights of TransNet V2 are not whole: {missing[0]} is missing; '
      'fetch or convert them again'
    )
  weight, bias, mean, var = (np.asarray(x, np.float32) for x in norm.values())
  scale = weight / np.sqrt(var + _EPSILON)
  cell = _path(stem.removesuffix('.'))
  return {f'{cell}/bn.scale': scale, f'{cell}/bn.shift': bias - mean * scale}


def _kernel(weight: np.ndarray) -> np.ndarray:
  """Moves axes: [out, in, …] -> [… without axes of length 1, in, out]."""
  moved = np.moveaxis(weight, (0, 1), (-1, -2))
  sizes = [size for size in moved.shape[:-2] if size > 1]
  return moved.reshape(*sizes, *moved.shape[-2:])


def _path(module: str) -> str:
  """The path in our tree of 'SDDCNN.0.DDCNN.1.Conv3D_2.layers.0', say."""
  return module.replace('.DDCNN', '/DDCNN').replace('.Conv3D', '/Conv3D')
