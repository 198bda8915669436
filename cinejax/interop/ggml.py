"""GGUF files, as llama.cpp and ComfyUI-GGUF write them, read as numbers.

The package gguf (`pip install -e '.[gguf]'`) knows the format and its
quantizations (Q8_0, Q4_K, Q6_K and the others of `gguf.quants`). A row is a
sequence of blocks with scales of their own, so that rows are read apart. GGUF
holds four axes at most; the shape of a tensor with five is in the field
`comfy.gguf.orig_shape.NAME`.
"""

import dataclasses
import math
import pathlib
from typing import Any

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop.mapped import MappedTensor, Tensor, dense_strides

_PLAIN = {
  'F64': np.float64,
  'F32': np.float32,
  'F16': np.float16,
  'BF16': jnp.bfloat16,
}
_SHAPE = 'comfy.gguf.orig_shape.'


@dataclasses.dataclass(frozen=True)
class QuantizedTensor:
  """A quantized tensor of a GGUF file as float32, a `Tensor`."""

  stored: MappedTensor  # bytes [rows, bytes of a row]
  kind: Any  # gguf.GGMLQuantizationType
  shape: tuple[int, ...]

  @property
  def dtype(self) -> np.dtype:
    return np.dtype(np.float32)

  def __getitem__(self, index: Any) -> np.ndarray:
    from gguf import quants

    index = index if isinstance(index, tuple) else (index,)
    apart = len(self.shape) == 2 and index and isinstance(index[0], slice)
    rows = index[0] if apart else slice(None)
    numbers = quants.dequantize(self.stored[rows], self.kind)
    if apart:
      return np.array(numbers[(slice(None), *index[1:])])
    return np.array(numbers.reshape(self.shape)[index])


def read_gguf(path: pathlib.Path) -> dict[str, Tensor]:
  """The tensors of a GGUF file by name; their data stay in the file.

  Raises UserError if the package gguf is missing, the file is broken, or it has
  a quantization that the package cannot read.
  """
  try:
    import gguf
    from gguf import quants
  except ImportError as error:
    raise UserError(
      f'{path} is a GGUF file, which the package gguf reads; install it with '
      "`pip install -e '.[gguf]'`, or give the weights as safetensors"
    ) from error
  try:
    reader = gguf.GGUFReader(path)
    size = path.stat().st_size
    found = {}
    for tensor in reader.tensors:
      if tensor.data_offset + tensor.n_bytes > size:
        raise ValueError(f'{tensor.name} lies beyond its end')
      field = reader.get_field(_SHAPE + tensor.name)
      shape = field.contents() if field else reversed(tensor.shape.tolist())
      found[tensor.name] = _tensor(path, tensor, tuple(shape), quants)
  except UserError:
    raise
  except Exception as error:  # broken files raise errors of all kinds
    raise UserError(
      f'{path} is not a whole GGUF file ({error}); fetch it again'
    ) from error
  return found


def _tensor(
  path: pathlib.Path, tensor: Any, shape: tuple[int, ...], quants: Any
) -> Tensor:
  kind, offset = tensor.tensor_type, int(tensor.data_offset)
  if kind.name in _PLAIN:
    dtype = np.dtype(_PLAIN[kind.name])
    return MappedTensor(path, offset, dtype, shape, dense_strides(shape))
  try:  # of one block of zeros
    block, length = quants.GGML_QUANT_SIZES[kind]
    quants.dequantize(np.zeros((1, length), np.uint8), kind)
  except NotImplementedError as error:
    raise UserError(
      f'{path} holds {tensor.name} as {kind.name}, which the package gguf '
      'cannot read; take the file in Q8_0, Q6_K or Q4_K'
    ) from error
  row = int(tensor.shape[0]) // block * length
  stored = (math.prod(shape) // int(tensor.shape[0]), row)
  bytes_ = MappedTensor(
    path, offset, np.dtype(np.uint8), stored, dense_strides(stored)
  )
  return QuantizedTensor(bytes_, kind, shape)
