"""Weights in other types, cast in pieces as they are written.

float8 is e4m3 with a scale for each matrix W of the transformer's blocks,

    Q = round(W / s),   s = max |W| / 448                                   (1)

stored as `X.weight`, `X.scale_weight` and the marker `scaled_fp8`, as ComfyUI
reads it (and interop/scaled.py). All other weights are then bfloat16.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop.mapped import Tensor, slabs

_CASTS = {
  'float32': np.dtype(np.float32),
  'bfloat16': np.dtype(jnp.bfloat16),
  'float16': np.dtype(np.float16),
}
DTYPES = (*_CASTS, 'float8')
_FLOAT8 = np.dtype(jnp.float8_e4m3fn)
_LARGEST = float(jnp.finfo(_FLOAT8).max)
_MATRIX = re.compile(r'blocks\.\d+\..*\.weight')


@dataclasses.dataclass(frozen=True)
class CastTensor:
  """A tensor rounded to another type, a `Tensor`."""

  name: str  # for errors
  stored: Tensor
  dtype: np.dtype
  scale: np.ndarray | None = None  # s of eq. (1); None: 1

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(self.stored.shape)

  def __getitem__(self, index: Any) -> np.ndarray:
    """Raises UserError if a number is too large for the type."""
    stored = self.stored[index]
    if self.scale is not None:
      # the largest may round to more than 448, which would not be a number
      stored = stored.astype(np.float32) / self.scale
      stored = np.clip(stored, -_LARGEST, _LARGEST)
    with np.errstate(over='ignore'):
      cast = stored.astype(self.dtype)
    if not np.array_equal(np.isfinite(cast), np.isfinite(stored)):
      raise UserError(
        f'{self.name} holds numbers that are too large for {self.dtype}; '
        'convert it to --dtype=bfloat16'
      )
    return cast


@dataclasses.dataclass(frozen=True)
class _Held:
  """A small array in memory, a `Tensor`."""

  array: np.ndarray

  @property
  def shape(self) -> tuple[int, ...]:
    return self.array.shape

  @property
  def dtype(self) -> np.dtype:
    return self.array.dtype

  def __getitem__(self, index: Any) -> np.ndarray:
    return self.array[index]


def cast(tensors: Mapping[str, Tensor], dtype: str) -> dict[str, Tensor]:
  """The tensors in one of `DTYPES`; tensors of whole numbers stay as they are.

  float8 is for names of Wan and diffusers: it reads every matrix once.
  """
  floats = {
    name: tensor
    for name, tensor in tensors.items()
    if jnp.issubdtype(tensor.dtype, jnp.floating)
  }
  matrices = {}
  if dtype == 'float8':
    matrices = {
      name: tensor
      for name, tensor in floats.items()
      if _MATRIX.fullmatch(name) and len(tensor.shape) == 2
    }
  plain = _CASTS.get(dtype, _CASTS['bfloat16'])
  found = dict(tensors)
  for name, tensor in floats.items():
    if name not in matrices:
      found[name] = CastTensor(name, tensor, plain)
      continue
    scale = _scale(name, tensor)
    found[name] = CastTensor(name, tensor, _FLOAT8, scale)
    found[name.removesuffix('weight') + 'scale_weight'] = _Held(scale)
  if matrices:  # ComfyUI: of two elements, so that activations stay as they are
    found['scaled_fp8'] = _Held(np.zeros(2, _FLOAT8))
  return found


def _scale(name: str, tensor: Tensor) -> np.ndarray:
  """s of eq. (1); 1 for a matrix of zeros.

  Raises UserError if a number is infinite or none at all.
  """
  largest = np.max(
    [
      np.abs(piece.astype(np.float32)).max(initial=0)
      for _, piece in slabs(tensor)
    ]
  )
  if not np.isfinite(largest):
    raise UserError(
      f'{name} holds a number that is not finite; convert it to '
      '--dtype=bfloat16, or take the weights from where they are whole'
    )
  return np.float32(largest / _LARGEST or 1).reshape(())
