"""Writes PyTorch checkpoints, without PyTorch and piece by piece.

It is the counterpart of interop/pickled.py. The pickle is assembled from its
opcodes (protocol 2), because a pickler would import the classes that it names;
the storages follow in the archive, uncompressed.
"""

import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cinejax.core.files import atomic_path
from cinejax.interop.mapped import Tensor, dense_strides, slabs
from cinejax.interop.pickled import STORAGES

_KINDS = {np.dtype(dtype): name for name, dtype in STORAGES.items()}
_FOLDER = 'archive'


def write_torch(
  path: str | os.PathLike,
  names: tuple[str, ...],
  tensors: Mapping[str, Tensor],
  on_written: Callable[[int], None] = lambda count: None,
) -> None:
  """Writes a checkpoint {name: tensors}; all `names` share the tensors.

  `on_written` is called with the number of bytes after each piece.
  """
  keys = {name: str(number) for number, name in enumerate(tensors)}
  with (
    atomic_path(path) as partial,
    zipfile.ZipFile(partial, 'w', zipfile.ZIP_STORED) as archive,
  ):
    archive.writestr(f'{_FOLDER}/data.pkl', _pickle(names, tensors, keys))
    archive.writestr(f'{_FOLDER}/byteorder', 'little')
    for name, tensor in tensors.items():
      member = zipfile.ZipInfo(f'{_FOLDER}/data/{keys[name]}')
      with archive.open(member, 'w', force_zip64=True) as file:
        for _, piece in slabs(tensor):
          file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8))
          on_written(piece.nbytes)
    archive.writestr(f'{_FOLDER}/version', '3\n')


def _pickle(names, tensors, keys) -> bytes:
  state = b''.join(
    _constant(name) + _tensor(tensor, keys[name])
    for name, tensor in tensors.items()
  )
  first, *others = names
  # the dict is stored in memo 0 and taken from there for the other names
  content = _constant(first) + _dict(state) + pickle.BINPUT + b'\0'
  for name in others:
    content += _constant(name) + pickle.BINGET + b'\0'
  return pickle.PROTO + b'\2' + _dict(content) + pickle.STOP


def _tensor(tensor: Tensor, key: str) -> bytes:
  shape = tuple(tensor.shape)
  storage = _tuple(
    _constant('storage'),
    _global('torch', _KINDS[tensor.dtype]),
    _constant(key),
    _constant('cpu'),
    _constant(int(np.prod(shape, dtype=np.int64))),
  )
  hooks = _global('collections', 'OrderedDict')
  arguments = _tuple(
    storage + pickle.BINPERSID,
    _constant(0),
    _tuple(*map(_constant, shape)),
    _tuple(*map(_constant, dense_strides(shape))),
    pickle.NEWFALSE,  # requires no gradient
    hooks + pickle.EMPTY_TUPLE + pickle.REDUCE,
  )
  return (
    _global('torch._utils', '_rebuild_tensor_v2') + arguments + (pickle.REDUCE)
  )


def _dict(items: bytes) -> bytes:
  return pickle.EMPTY_DICT + pickle.MARK + items + pickle.SETITEMS


def _tuple(*items: bytes) -> bytes:
  return pickle.MARK + b''.join(items) + pickle.TUPLE


def _global(module: str, name: str) -> bytes:
  return pickle.GLOBAL + f'{module}\n{name}\n'.encode()


def _constant(x: Any) -> bytes:
  if isinstance(x, str):
    text = x.encode()
    return pickle.BINUNICODE + struct.pack('<I', len(text)) + text
  return pickle.dumps(x, 2)[2:-1]  # without header and stop
