"""Reads PyTorch checkpoints (.pth, .pt) safely and without PyTorch.

Such a file is a zip archive. A pickle describes the tensors and names a storage
for each, which is an uncompressed member of the archive. A pickle could call
any function; this reader admits only those that describe tensors and refuses
all others. What it returns are places in the file, not arrays.
"""

import collections
import io
import os
import pathlib
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop.mapped import MappedTensor

STORAGES = {
  'BoolStorage': np.bool_,
  'ByteStorage': np.uint8,
  'CharStorage': np.int8,
  'ShortStorage': np.int16,
  'IntStorage': np.int32,
  'LongStorage': np.int64,
  'HalfStorage': np.float16,
  'BFloat16Storage': jnp.bfloat16,
  'FloatStorage': np.float32,
  'DoubleStorage': np.float64,
}
# types without a storage of their own: their storage is of bytes
_DTYPES = {
  'float8_e4m3fn': jnp.float8_e4m3fn,
  'float8_e5m2': jnp.float8_e5m2,
}
_LONGEST_PICKLE = 100_000_000  # bytes
_LOCAL_HEADER = 30  # bytes before the name and the extra field of a member


class _Storage(NamedTuple):
  """A member of the archive that holds the numbers of tensors."""

  path: pathlib.Path
  offset: int  # bytes
  length: int  # bytes
  dtype: np.dtype


def read_torch(path: str | os.PathLike) -> dict[str, Any]:
  """Reads what `torch.save` wrote: dicts of MappedTensor, perhaps nested.

  Raises UserError if the file is missing, is not such an archive, or holds
  anything but dicts, lists, strings, numbers and dense tensors.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'there is no weights file {path}; check the path')
  try:
    with zipfile.ZipFile(path) as archive:
      members = {info.filename: info for info in archive.infolist()}
      name = next(n for n in members if n.endswith('/data.pkl'))
      folder = name.removesuffix('data.pkl')
      with path.open('rb') as file:
        _check_order(file, members, folder)
        description = _content(file, members[name])
        found = _Reader(path, file, members, folder, description).load()
  except UserError:
    raise
  except StopIteration as error:
    raise _broken(path, 'it holds no data.pkl') from error
  except Exception as error:  # broken pickles raise errors of all kinds
    raise _broken(path, error) from error
  if not isinstance(found, Mapping):
    raise UserError(
      f'{path} holds a {type(found).__name__}, not tensors by name; save a '
      'state dict'
    )
  return dict(found)


def _broken(path: pathlib.Path, reason: Any) -> UserError:
  return UserError(
    f'{path} is not a whole checkpoint of PyTorch 1.6 or later ({reason}); '
    'download it, or save it, again'
  )


def _check_order(file, members, folder) -> None:
  info = members.get(f'{folder}byteorder')
  # PyTorch before 2.1 writes none, and its machines were little-endian
  if info is not None and _content(file, info) != b'little':
    raise ValueError('it is big-endian')


def _content(file, info: zipfile.ZipInfo) -> bytes:
  """The content of a small member.

  It is not read by `zipfile`, with which it could unpack to any size.
  """
  offset, length = _place(file, info)
  if length > _LONGEST_PICKLE:
    raise ValueError(f'{info.filename} has {length} bytes')
  file.seek(offset)
  return file.read(length)


def _place(file, info: zipfile.ZipInfo) -> tuple[int, int]:
  """The offset and length, in bytes, of a member's data.

  Raises ValueError if they are compressed or beyond the end of the file.
  """
  if info.compress_type != zipfile.ZIP_STORED:
    raise ValueError(f'{info.filename} is compressed')
  file.seek(info.header_offset)
  header = file.read(_LOCAL_HEADER)
  if header[:4] != b'PK\x03\x04':
    raise ValueError(f'{info.filename} has no header')
  name, extra = (int.from_bytes(header[i : i + 2], 'little') for i in (26, 28))
  offset = info.header_offset + _LOCAL_HEADER + name + extra
  if offset + info.file_size > os.fstat(file.fileno()).st_size:
    raise ValueError(f'{info.filename} lies beyond its end')
  return offset, info.file_size


class _Reader(pickle.Unpickler):
  """An unpickler that admits tensors and plain containers alone."""

  def __init__(self, path, file, members, folder: str, description: bytes):
    super().__init__(io.BytesIO(description))
    self._path, self._file = path, file
    self._members, self._folder = members, folder

  def find_class(self, module: str, name: str) -> Any:
    if module == 'torch' and name in STORAGES:
      return np.dtype(STORAGES[name])
    if module == 'torch' and name in _DTYPES:
      return np.dtype(_DTYPES[name])
    if (module, name) in _ADMITTED:
      return _ADMITTED[module, name]
    if module.startswith('torchao'):
      raise UserError(
        f'{self._path} is quantized by torchao and pickled with its classes '
        f'({name}); save it with its safetensors support, or in bfloat16'
      )
    raise UserError(
      f'{self._path} asks for {module}.{name}, and a weights file may hold '
      'tensors only; save a state dict'
    )

  def persistent_load(self, pid: Any) -> _Storage:
    kind, dtype, key, _, count = pid
    if kind != 'storage' or not isinstance(dtype, np.dtype):
      raise ValueError(f'{pid} is no storage')
    member = self._members[f'{self._folder}data/{key}']
    offset, length = _place(self._file, member)
    if count * dtype.itemsize > length:
      raise ValueError(f'storage {key} has {length} bytes for {count} numbers')
    return _Storage(self._path, offset, length, dtype)


def _rebuild_tensor(
  storage: _Storage,
  offset: int,
  shape: tuple[int, ...],
  strides: tuple[int, ...],
  *_: Any,
) -> MappedTensor:
  """Stands for PyTorch's function; `offset` and `strides` are in elements."""
  if min((offset, *shape, *strides)) < 0:
    raise ValueError('a tensor has a negative size')
  size = storage.dtype.itemsize
  tensor = MappedTensor(
    storage.path,
    storage.offset + offset * size,
    storage.dtype,
    tuple(shape),
    tuple(strides),
  )
  if offset * size + tensor.span > storage.length:
    raise ValueError('a tensor is larger than its storage')
  return tensor


def _rebuild_bytes(
  storage: _Storage,
  offset: int,
  shape: tuple[int, ...],
  strides: tuple[int, ...],
  requires_grad: bool,
  hooks: Any,
  dtype: np.dtype,
  *_: Any,
) -> MappedTensor:
  """Stands for PyTorch's function for a tensor over a storage of bytes."""
  if not isinstance(dtype, np.dtype):
    raise ValueError(f'{dtype} is no type of numbers')
  return _rebuild_tensor(storage._replace(dtype=dtype), offset, shape, strides)


def _rebuild_parameter(data: MappedTensor, *_: Any) -> MappedTensor:
  return data


_ADMITTED = {
  ('collections', 'OrderedDict'): collections.OrderedDict,
  ('torch._utils', '_rebuild_tensor_v2'): _rebuild_tensor,
  ('torch._utils', '_rebuild_tensor_v3'): _rebuild_bytes,
  ('torch.storage', 'UntypedStorage'): np.dtype(np.uint8),
  ('torch._utils', '_rebuild_parameter'): _rebuild_parameter,
}
