"""What an adapter adds to each tensor of a layer, from its parts in a file.

The scale is alpha / r. r is the inner size of the matrices. alpha is a tensor
of the layer, or stands in diffusers' metadata or in peft's adapter_config.json,
perhaps by a pattern of layers (where `use_rslora` makes the scale
alpha / sqrt(r)); otherwise, or if it is 0, it is r. Of a LoKr whose two
matrices are whole, LyCORIS disregards alpha, and peft's config has r.
"""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop import adapter_names
from cinejax.interop.archive import Archive
from cinejax.interop.changes import Change, Decomposed, Product, Whole
from cinejax.interop.mapped import Tensor, read

_METADATA = 'lora_adapter_metadata'  # diffusers' key
_LOHA = ('hada_w1_a', 'hada_w1_b', 'hada_w2_a', 'hada_w2_b')
Parts = Mapping[str, Tensor]


@dataclasses.dataclass(frozen=True)
class Delta:
  """What is added to one tensor of a layer."""

  size: tuple[int, ...]  # in PyTorch's axes, [out, in] of products
  make: Callable[[], np.ndarray]  # all of it, in PyTorch's axes
  factors: tuple[np.ndarray, np.ndarray] | None = None  # A [r, in], B [out, r]
  magnitude: np.ndarray | None = None

  def fits(self, shape: tuple[int, ...]) -> bool:
    """Whether it can be added to a tensor of PyTorch's shape `shape`."""
    flat = (shape[0], math.prod(shape[1:]))
    if self.magnitude is not None:
      known = ((1, flat[0]), (flat[1], 1))
      return (
        len(shape) == 2
        and self.magnitude.shape in known
        and (self.size == flat)
      )
    return self.size in (tuple(shape), flat)

  def change(self, how: str, strength: float) -> Change:
    """The change of a leaf; `how` is as in names.Rule."""
    inner = 1.0 if self.magnitude is not None else strength
    if how == 'transposed' and self.factors:
      down, up = self.factors
      change = Product(down.T, inner * up.T)
    else:
      change = Whole(self.make, how, inner)
    if self.magnitude is None:
      return change
    return Decomposed(change, self.magnitude, strength)


def deltas(archive: Archive, layer: str, parts: Parts) -> dict[str, Delta]:
  """What is added to the weight, the bias and the modulation of a layer.

  Raises UserError if parts are missing, or are of kinds that are not supported.
  """
  found = {}
  if 'tucker' in parts:
    raise UserError(
      f'{archive.path}: {layer} has a third matrix (Tucker), which is not '
      'supported; save the adapter without it'
    )
  if kernel := _kernel(archive, layer, parts):
    found['weight'] = kernel
  for part, kind in (
    ('diff', 'weight'),
    ('diff_b', 'bias'),
    ('diff_m', 'modulation'),
  ):
    if part in parts:
      if kind in found:
        raise _incomplete(archive, layer, parts)
      found[kind] = _difference(archive, layer, parts[part], 1.0)
  if 'up_bias' in parts and kernel and kernel.factors:
    rank = len(kernel.factors[0])
    scale = _scale(archive, layer, parts, rank)
    found['bias'] = _difference(archive, layer, parts['up_bias'], scale)
  if not found:
    raise _incomplete(archive, layer, parts)
  return found


def _incomplete(archive: Archive, layer: str, parts: Parts) -> UserError:
  return UserError(
    f'{archive.path} holds {layer} with {", ".join(sorted(parts))} alone, and '
    'so not one whole change of that layer; fetch the file again'
  )


def _difference(
  archive: Archive, layer: str, tensor: Tensor, scale: float
) -> Delta:
  return Delta(
    tuple(tensor.shape),
    lambda: np.float32(scale) * _finite(archive, layer, tensor),
  )


def _finite(archive: Archive, layer: str, tensor: Tensor) -> np.ndarray:
  """The numbers of a part. Raises UserError if one is infinite or NaN."""
  x = read(tensor, np.float32)
  if not np.isfinite(x).all():
    raise UserError(
      f'{archive.path} holds numbers for {layer} that are not finite, as if '
      'its training had failed; take an earlier adapter'
    )
  return x


def _kernel(archive: Archive, layer: str, parts: Parts) -> Delta | None:
  """What is added to the weight by matrices; None if there are none."""
  x = {
    part: _finite(archive, layer, tensor)
    for part, tensor in parts.items()
    if part.startswith(('down', 'hada', 'lokr', 'magnitude')) or part == 'up'
  }
  if x.keys() >= {'down', 'up'}:
    down, up = x['down'].reshape(len(x['down']), -1), x['up']
    up = up.reshape(len(up), -1)
    _check_product(archive, layer, up, down)
    up = _scale(archive, layer, parts, len(down)) * up
    size, factors = (len(up), down.shape[1]), (down, up)
    make = functools.partial(np.matmul, up, down)
  elif x.keys() >= set(_LOHA):
    first, second = (x[_LOHA[0]], x[_LOHA[1]]), (x[_LOHA[2]], x[_LOHA[3]])
    for pair in (first, second):
      _check_product(archive, layer, *pair)
    scale = _scale(archive, layer, parts, len(first[1]))
    size, factors = (len(first[0]), first[1].shape[1]), None
    if size != (len(second[0]), second[1].shape[1]):
      raise _incomplete(archive, layer, parts)

    def make() -> np.ndarray:
      return np.float32(scale) * (np.matmul(*first) * np.matmul(*second))

  elif any(part.startswith('lokr') for part in x):
    first, rank_1 = _kronecker(archive, layer, parts, x, 'lokr_w1')
    second, rank_2 = _kronecker(archive, layer, parts, x, 'lokr_w2')
    scale = _scale(archive, layer, parts, rank_2 or rank_1)
    rows, columns = np.multiply(first.shape, second.shape).tolist()
    size, factors = (rows, columns), None

    def make() -> np.ndarray:
      return np.float32(scale) * np.kron(first, second)

  elif x:
    raise _incomplete(archive, layer, parts)
  else:
    return None
  magnitude = x.get('magnitude')
  if magnitude is not None:
    # [out] and [out, 1] are of rows of PyTorch, which are our columns
    magnitude = magnitude.reshape(len(magnitude), -1).T
  return Delta(size, make, factors, magnitude)


def _kronecker(archive, layer, parts, x, name) -> tuple[np.ndarray, int]:
  """A factor of a LoKr and its rank, which is 0 if it is whole."""
  if name in x:
    return x[name].reshape(len(x[name]), -1), 0
  pair = x.get(f'{name}_a'), x.get(f'{name}_b')
  if any(matrix is None for matrix in pair):
    raise _incomplete(archive, layer, parts)
  _check_product(archive, layer, *pair)
  return np.matmul(*pair), len(pair[1])


def _check_product(archive, layer, left, right) -> None:
  if left.ndim != 2 or right.ndim != 2 or left.shape[1] != len(right):
    raise UserError(
      f'{archive.path}: {layer} is changed by matrices of {left.shape} and '
      f'{right.shape}, which cannot be multiplied'
    )


def _scale(archive: Archive, layer: str, parts: Parts, rank: int) -> float:
  """alpha / r; `rank` is 0 if no matrix is factored."""
  if 'alpha' in parts:
    if 0 in parts['alpha'].shape:
      raise _incomplete(archive, layer, parts)
    alpha = float(_finite(archive, layer, parts['alpha']).reshape(-1)[0])
    return alpha / rank if alpha and rank else 1.0
  config = _config(archive)
  alpha = adapter_names.setting(config, layer, 'alpha')
  rank = rank or adapter_names.setting(config, layer, 'r')
  if alpha is None or not rank:
    return 1.0
  return alpha / (rank**0.5 if config.get('use_rslora') else rank)


def _config(archive: Archive) -> dict[str, Any]:
  """The LoraConfig of a file, of diffusers or of peft; {} if it has none.

  Raises UserError if it cannot be read.
  """
  beside = archive.path.with_name('adapter_config.json')
  try:
    config = json.loads(archive.metadata.get(_METADATA, '{}'))
    if archive.path.name.startswith('adapter_model.') and beside.is_file():
      config = json.loads(beside.read_text())
    config = {k.removeprefix('transformer.'): x for k, x in config.items()}
    numbers = [config.get(name) for name in ('lora_alpha', 'alpha', 'r')]
    for name in ('alpha_pattern', 'rank_pattern'):
      for pattern, number in (config.get(name) or {}).items():
        re.compile(pattern)
        numbers.append(number)
    for number in numbers:
      if not isinstance(number, int | float | None):
        raise ValueError(f'{number!r} is no number')
    return config
  except (OSError, ValueError, AttributeError, re.error) as error:
    raise UserError(
      f'{archive.path}: its config of peft is broken ({error}); fetch it again'
    ) from error
