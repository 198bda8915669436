"""Weights of eight bits with scales, read as the numbers that they stand for.

    W = scale Q                                                              (1)

Q is a weight in float8 (e4m3, e5m2) or int8. The scale is one number, one for
each row (output feature), or one for each block of rows and columns. Its name,
beside X.weight, is

  X.scale_weight                    ComfyUI until 2025
  X.weight_scale                    ComfyUI since, LightX2V, compressed-tensors
  X.weight_scale_inv                DeepSeek's blocks; it multiplies too
  X._weight_scale, X._weight_qdata  torchao's flattened Float8Tensor

Scales of activations (`input_scale`, `scale_input`) and markers (`scaled_fp8`,
`comfy_quant`) are dropped, since activations are not quantized here. float8
without a scale is read as bfloat16, which holds it exactly.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop.mapped import Tensor

FLOAT8 = (np.dtype(jnp.float8_e4m3fn), np.dtype(jnp.float8_e5m2))
_SCALES = ('.scale_weight', '.weight_scale', '.weight_scale_inv')
_UNUSED = ('.scale_input', '.input_scale', '.comfy_quant')
_MARKERS = ('scaled_fp8',)
# what other quantizations store beside a weight, and their names
_OTHERS = {
  '.weight_scale_2': 'NVFP4',
  '.weight_global_scale': 'NVFP4',
  '.qweight': 'GPTQ or AWQ',
  '.weight.absmax': 'bitsandbytes',
  '.weight.quant_map': 'bitsandbytes',
  '.weight_zero_point': 'integers with zero points',
  '._weight_zero_point': 'integers with zero points',
  '.weight._data': 'optimum-quanto',
  '.proj_down': 'SVDQuant',
}


@dataclasses.dataclass(frozen=True)
class ScaledTensor:
  """A tensor of eight bits times its scale, eq. (1), a `Tensor`."""

  stored: Tensor
  scale: Tensor | None  # None: 1

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(self.stored.shape)

  @property
  def dtype(self) -> np.dtype:
    return np.dtype(jnp.bfloat16 if self.scale is None else np.float32)

  def __getitem__(self, index: Any) -> np.ndarray:
    stored = self.stored[index].astype(self.dtype)
    return stored if self.scale is None else stored * self._factor(index)

  def _factor(self, index: Any) -> np.ndarray:
    """The scales of the part `index`, which broadcast to its shape."""
    index = index if isinstance(index, tuple) else (index,)
    index = tuple(part for part in index if part is not Ellipsis)
    index = (*index, *(slice(None),) * (len(self.shape) - len(index)))
    factor = self.scale[()].astype(np.float32)
    factor = factor.reshape(scale_shape(self.shape, factor.shape))
    whole = []  # axes of which one element is taken
    for axis, part in enumerate(index):
      numbers = np.arange(self.shape[axis])[part]
      if numbers.ndim == 0:
        whole.append(axis)
      blocks = factor.shape[axis]
      if blocks > 1:
        block = self.shape[axis] // blocks
        factor = np.take(factor, np.atleast_1d(numbers) // block, axis)
    return np.squeeze(factor, tuple(whole))


def scale_shape(
  shape: tuple[int, ...], scale: tuple[int, ...]
) -> tuple[int, ...] | None:
  """The shape of a scale, with one axis for each of `shape`; None: no scale."""
  if math.prod(scale) == 1:
    return (1,) * len(shape)
  if len(scale) == 1:
    scale = (*scale, *(1,) * (len(shape) - 1))
  fits = len(scale) == len(shape) and all(
    blocks and length % blocks == 0
    for length, blocks in zip(shape, scale, strict=True)
  )
  return tuple(scale) if fits else None


def dequantized(
  path: pathlib.Path,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str],
) -> dict[str, Tensor]:
  """The tensors of a file, those of eight bits multiplied by their scales.

  Raises UserError for quantizations that are not supported, by name.
  """
  for name in tensors:
    for suffix, kind in _OTHERS.items():
      if name.endswith(suffix):
        raise _refusal(path, kind, name)
  found = _without_torchao(path, tensors, metadata)
  for name, tensor in tensors.items():
    if name.endswith('.comfy_quant'):
      _check_comfy(path, name, tensor)
  scales = {
    name.removesuffix(suffix) + '.weight': (name, tensor)
    for name, tensor in found.items()
    for suffix in _SCALES
    if name.endswith(suffix)
  }
  dropped = {name for name, _ in scales.values()}
  dropped |= {n for n in found if n.endswith(_UNUSED) or n in _MARKERS}
  scaled = {}
  for name, tensor in found.items():
    if name not in dropped:
      scale_name, scale = scales.pop(name, ('', None))
      scaled[name] = _one(path, name, tensor, scale_name, scale)
  for name, (scale_name, _) in scales.items():
    raise UserError(
      f'{path} has {scale_name}, and no {name} that it could scale; fetch the '
      'file again'
    )
  return scaled


def _one(path, name, tensor, scale_name, scale) -> Tensor:
  if scale is None:
    if tensor.dtype in FLOAT8:
      return ScaledTensor(tensor, None)
    if tensor.dtype == np.int8:
      raise _refusal(path, 'int8 without scales', name)
    return tensor
  if tensor.dtype not in (*FLOAT8, np.int8):
    if tensor.dtype == np.uint8:
      raise _refusal(path, 'four bits', name)
    return tensor  # a layer that was left as it was
  if scale_shape(tuple(tensor.shape), tuple(scale.shape)) is None:
    raise UserError(
      f'{path} has {scale_name} of shape {tuple(scale.shape)}, which divides '
      f'no rows and columns of {name}, {tuple(tensor.shape)}; give the weights '
      'in bfloat16'
    )
  return ScaledTensor(tensor, scale)


def _without_torchao(path, tensors, metadata) -> dict[str, Tensor]:
  """The tensors with torchao's names replaced by those of the others."""
  found = {}
  for name, tensor in tensors.items():
    module, _, last = name.rpartition('.')
    if last == '_weight_qdata':
      kind = _torchao_kind(metadata, f'{module}.weight')
      if kind != 'Float8Tensor':
        raise _refusal(path, f"torchao's {kind}", name)
      found[f'{module}.weight'] = tensor
    elif last == '_weight_scale':
      found[f'{module}.weight_scale'] = tensor
    else:
      found[name] = tensor
  return found


def _torchao_kind(metadata: Mapping[str, str], name: str) -> str:
  for key, value in metadata.items():
    if key == name or key.endswith(f'.{name}'):
      try:
        return str(json.loads(value)['_type'])
      except (ValueError, KeyError, TypeError):
        break
  return 'unknown tensor'


def _check_comfy(path: pathlib.Path, name: str, tensor: Tensor) -> None:
  """Raises UserError unless a layer's quantization is one of eq. (1)."""
  try:
    layer = json.loads(tensor[()].tobytes())
    kind = str(layer['format'])
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'{path}: {name} is no description of a quantization; fetch the file '
      'again'
    ) from error
  if layer.get('convrot'):  # the weights are rotated before they are rounded
    kind += ' with rotations'
  if kind not in ('float8_e4m3fn', 'float8_e5m2', 'int8_tensorwise'):
    raise _refusal(path, kind, name)


def _refusal(path: pathlib.Path, kind: str, name: str) -> UserError:
  return UserError(
    f'{path} is quantized as {kind} ({name}), which is not read; give the '
    'weights in bfloat16, float8 or int8 with scales, or GGUF'
  )
