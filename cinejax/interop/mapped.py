"""Tensors in files, of which parts can be read.

A checkpoint of 14B parameters does not fit into a host's memory twice. A
tensor is therefore a place in a file. Reading a part of it maps the bytes that
are needed, copies them and unmaps them, so that the host holds that part alone.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError

# by their names in the safetensors format
DTYPES = {
  'BOOL': np.dtype(np.bool_),
  'U8': np.dtype(np.uint8),
  'I8': np.dtype(np.int8),
  'I16': np.dtype(np.int16),
  'I32': np.dtype(np.int32),
  'I64': np.dtype(np.int64),
  'F16': np.dtype(np.float16),
  'BF16': np.dtype(jnp.bfloat16),
  'F32': np.dtype(np.float32),
  'F64': np.dtype(np.float64),
  'F8_E4M3': np.dtype(jnp.float8_e4m3fn),
  'F8_E5M2': np.dtype(jnp.float8_e5m2),
}
_SLAB = 2**25  # bytes of a piece
_LONGEST_HEADER = 100_000_000  # bytes; the bound of the format
# what a header raises that is not as it should be
_BROKEN = (
  OSError,
  ValueError,
  KeyError,
  TypeError,
  AttributeError,
  RecursionError,
)


class Tensor(Protocol):
  """An array of which parts can be read."""

  @property
  def shape(self) -> tuple[int, ...]: ...

  @property
  def dtype(self) -> np.dtype: ...

  def __getitem__(self, index: Any) -> np.ndarray:
    """Copies a part; `index` consists of slices and integers."""
    ...


@dataclasses.dataclass(frozen=True)
class MappedTensor:
  """A tensor at a place in a file."""

  path: pathlib.Path
  offset: int  # bytes from the start of the file to element [0, …, 0]
  dtype: np.dtype
  shape: tuple[int, ...]
  strides: tuple[int, ...]  # in elements

  @property
  def span(self) -> int:
    """Bytes from the start of the first element to the end of the last."""
    if 0 in self.shape:
      return 0
    last = sum(
      (length - 1) * stride
      for length, stride in zip(self.shape, self.strides, strict=True)
    )
    return (last + 1) * self.dtype.itemsize

  def __getitem__(self, index: Any) -> np.ndarray:
    if not self.span:
      return np.zeros(self.shape, self.dtype)[index]
    bytes_ = np.memmap(self.path, np.uint8, 'r', self.offset, (self.span,))
    # bytes are mapped, because memmap refuses offsets that are not aligned
    view = np.ndarray(
      self.shape,
      self.dtype,
      bytes_,
      strides=[stride * self.dtype.itemsize for stride in self.strides],
    )
    return np.array(view[index], order='C')


def slabs(
  tensor: Tensor, index: tuple[slice, ...] = ()
) -> Iterator[tuple[slice, np.ndarray]]:
  """Reads a part of `tensor` in pieces along its first axis.

  Yields (place within the part, piece). Pieces have about _SLAB bytes, so that
  a large tensor is never in memory twice, in two types or read and written.
  """
  if not tensor.shape:
    yield (), tensor[()]
    return
  first, *rest = index or (slice(None),)
  rows = range(tensor.shape[0])[first]
  step = max(1, _SLAB * tensor.shape[0] // max(tensor_bytes(tensor), 1))
  for start in range(0, len(rows), step):
    piece = rows[start : start + step]
    stored = tensor[(slice(piece.start, piece.stop), *rest)]
    yield slice(start, start + len(piece)), stored


def read(
  tensor: Tensor, dtype: Any = None, index: tuple[slice, ...] = ()
) -> np.ndarray:
  """Reads a part of `tensor` as `dtype`; None: as it is stored.

  `index` has slices, without steps, of the first axes.
  """
  axes = (*index, *(slice(None),) * (len(tensor.shape) - len(index)))
  shape = [
    len(range(length)[axis])
    for length, axis in zip(tensor.shape, axes, strict=True)
  ]
  out = np.empty(shape, tensor.dtype if dtype is None else dtype)
  for place, piece in slabs(tensor, axes):
    out[place] = piece
  return out


def place(tensor: Tensor, dtype: Any, sharding: jax.sharding.Sharding):
  """Reads `tensor` as a jax.Array; each device reads its own part."""
  placed = jax.make_array_from_callback(
    tuple(tensor.shape), sharding, lambda index: read(tensor, dtype, index)
  )
  # otherwise the host would hold these bytes while it reads the next tensor
  return jax.block_until_ready(placed)


def tensor_bytes(tensor: Tensor) -> int:
  """The size of `tensor` in bytes."""
  return math.prod(tensor.shape) * tensor.dtype.itemsize


def dense_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
  """The strides, in elements, of an array without gaps, in C order."""
  return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def read_safetensors(
  path: str | os.PathLike,
) -> tuple[dict[str, MappedTensor], dict[str, str]]:
  """Reads the header of a safetensors file: (tensors by name, metadata).

  Raises UserError if the file is missing, cut short or of another format.
  """
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(f'there is no weights file {path}; check the path')
  try:
    with path.open('rb') as file:
      length = int.from_bytes(file.read(8), 'little')
      if not 2 <= length <= min(_LONGEST_HEADER, path.stat().st_size - 8):
        raise ValueError('its header is cut short')
      header = json.loads(file.read(length), object_pairs_hook=without_twins)
    metadata = header.pop('__metadata__', {})
    if not all(isinstance(text, str) for text in metadata.values()):
      raise ValueError('its metadata are not texts')
    tensors = dict(_places(path, header, 8 + length))
  except _BROKEN as error:
    raise UserError(
      f'{path} is not a whole safetensors file ({error}); fetch or make it '
      'again'
    ) from error
  return tensors, metadata


def without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  """A JSON object, for json.loads. Raises ValueError if a key occurs twice."""
  found = dict(pairs)
  if len(found) < len(pairs):
    keys = [key for key, _ in pairs]
    twin = next(key for key in keys if keys.count(key) > 1)
    raise ValueError(f'it has {twin} twice')
  return found


def _places(
  path: pathlib.Path, header: dict[str, Any], start: int
) -> Iterator[tuple[str, MappedTensor]]:
  size = path.stat().st_size
  for name, entry in header.items():
    if not name.isprintable():
      raise ValueError(f'it names a tensor {name!r}')
    if entry['dtype'] not in DTYPES:
      raise UserError(
        f'{path} holds {name} in the type {entry["dtype"]}, which is not read; '
        'give the weights in bfloat16, or in float8 with scales'
      )
    dtype, shape = DTYPES[entry['dtype']], tuple(entry['shape'])
    first, end = entry['data_offsets']
    if not all(type(size) is int for size in (*shape, first, end)):
      raise ValueError(f'{name} has a size that is no whole number')
    if not 0 <= first <= end <= size - start:
      raise ValueError(f'{name} lies beyond its end')
    tensor = MappedTensor(
      path, start + first, dtype, shape, dense_strides(shape)
    )
    if min(shape, default=1) < 0 or tensor.span != end - first:
      raise ValueError(f'{name} has {end - first} bytes for {shape}')
    yield name, tensor
