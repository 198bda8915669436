"""LoRA files for Wan, as diffusers and others write them.

Each layer has A [r, in], named `….lora_A.weight` or `….lora_down.weight`, and
B [out, r], named `….lora_B.weight` or `….lora_up.weight`. The layer has Wan's
name, diffusers' name or kohya's: `lora_unet_` and the name with `_` for `.`.
The change of a kernel is the transpose of (alpha / r) B A. alpha is a scalar
`….alpha`, or stands in diffusers' metadata or in peft's adapter_config.json
(where `use_rslora` makes the factor alpha / sqrt(r)); otherwise it is r.

Files are written with alpha = r and without metadata: diffusers would need a
whole LoraConfig there.
"""

import dataclasses
import functools
import json
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.interop import names
from cinejax.interop.archive import Archive, open_archive
from cinejax.interop.mapped import Tensor, read
from cinejax.models import lora

_PART = re.compile(
  r'(?P<layer>.+)\.(?:(?P<down>lora_A|lora_down)|(?P<up>lora_B|lora_up))'
  r'(?:\.default)?\.weight|(?P<scaled>.+)\.alpha'
)
_METADATA = 'lora_adapter_metadata'  # diffusers' key
_FLAT = 'lora_unet_'  # before kohya's names
_NUMBER = re.compile(rf'(?<=^blocks\.)\d+|(?<=^{_FLAT}blocks_)\d+')


@dataclasses.dataclass(frozen=True)
class MergedKernel:
  """A kernel with an adapter merged into it, a `Tensor`."""

  kernel: Tensor
  stacked: bool  # whether its first axis is that of layers
  # by layer (0 if not stacked): A [in, r] and B [r, out], scaled
  change: Mapping[int, tuple[np.ndarray, np.ndarray]]

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(self.kernel.shape)

  @property
  def dtype(self) -> np.dtype:
    return self.kernel.dtype

  def __getitem__(self, index: Any) -> np.ndarray:
    """`index` is a slice or a tuple of slices."""
    index = index if isinstance(index, tuple) else (index,)
    index = (*index, *(slice(None),) * (len(self.shape) - len(index)))
    *layers, rows, columns = index
    made = np.array(self.kernel[index])
    parts = made if self.stacked else made[None]
    numbers = range(self.shape[0])[layers[0]] if self.stacked else [0]
    for part, number in zip(parts, numbers, strict=True):
      if number in self.change:
        down, up = self.change[number]
        part[:] = part.astype(np.float32) + down[rows] @ up[:, columns]
    return made


def with_adapter(
  leaves: Mapping[str, Tensor], path: str | os.PathLike
) -> dict[str, Tensor]:
  """The leaves of a DiT, by path, with a LoRA file merged when they are read.

  Raises UserError if the file has no LoRA, or that of another network.
  """
  archive = open_archive(path)
  changes: dict[str, dict[int, tuple[np.ndarray, np.ndarray]]] = {}
  for layer, parts in _layers(archive).items():
    kernel, number = _kernel(archive, layer)
    changes.setdefault(kernel, {})[number] = _change(archive, layer, parts)
  made = dict(leaves)
  for name, change in changes.items():
    kernel, stacked = leaves[name], name.startswith('blocks/')
    *layers, rows, columns = kernel.shape
    for number, (down, up) in change.items():
      if number >= (layers or [1])[0] or (len(down), up.shape[1]) != (
        rows,
        columns,
      ):
        raise UserError(
          f'{path} changes layer {number} of {name} by a matrix of '
          f'{len(down)}x{up.shape[1]}, and the network has {kernel.shape}; '
          'use the network that it was made for'
        )
    made[name] = MergedKernel(kernel, stacked, change)
  return made


def save_adapter(path: str | os.PathLike, adapter: Any, scale: float) -> None:
  """Writes a tree of models/lora.py as a LoRA file for diffusers.

  `scale`, which is alpha / r, is multiplied into B.
  """
  flat, tensors = tree_lib.paths(adapter), {}
  theirs = {rule.ours: rule.theirs for rule in names.rules('diffusers')}
  for name, x in flat.items():
    layer, _, kind = name.rpartition('/')
    module = theirs[f'{layer}/kernel'].removesuffix('.weight')
    part, weight = ('lora_A', 1) if kind == lora.DOWN else ('lora_B', scale)
    matrices = np.asarray(x) if '{}' in module else np.asarray(x)[None]
    for number, matrix in enumerate(matrices):
      key = f'transformer.{module.format(number)}.{part}.weight'
      tensors[key] = np.ascontiguousarray(weight * matrix.T)
  with atomic_path(path) as partial:
    save_file(tensors, partial, {'format': 'pt'})


def _layers(archive: Archive) -> dict[str, dict[str, Tensor]]:
  """The tensors `down`, `up` and perhaps `alpha` of each layer, by name."""
  layers: dict[str, dict[str, Tensor]] = {}
  alien = []
  for name, tensor in archive.tensors.items():
    found = _PART.fullmatch(name)
    if found is None:
      alien.append(name)
    elif found['scaled']:
      layers.setdefault(found['scaled'], {})['alpha'] = tensor
    else:
      kind = 'down' if found['down'] else 'up'
      layers.setdefault(found['layer'], {})[kind] = tensor
  alien += [
    name for name, x in layers.items() if not {'down', 'up'} <= x.keys()
  ]
  if alien or not layers:
    what = ', '.join(sorted(alien)) or 'no tensor'
    raise UserError(
      f'{archive.path} is no LoRA of two matrices a layer: it holds {what}; '
      'give a LoRA file for Wan 2.1'
    )
  return layers


@functools.cache
def _kernels() -> dict[str, str]:
  """Kernels of our DiT by the names of their layers in LoRA files."""
  dotted = {
    rule.theirs.removesuffix('.weight'): rule.ours
    for layout in ('wan', 'diffusers')
    for rule in names.rules(layout)
    if rule.how == 'transposed'
  }
  flat = {_FLAT + k.replace('.', '_'): ours for k, ours in dotted.items()}
  return dotted | flat


def _kernel(archive: Archive, layer: str) -> tuple[str, int]:
  """The path of the kernel that `layer` changes, and its number of layer."""
  numbers, module = _NUMBER.findall(layer), _NUMBER.sub('{}', layer)
  if module not in _kernels():
    raise UserError(
      f'{archive.path} changes {layer}, and no DiT of Wan 2.1 has such a '
      'layer; give a LoRA file for Wan 2.1'
    )
  return _kernels()[module], int(numbers[0]) if numbers else 0


def _change(
  archive: Archive, layer: str, parts: Mapping[str, Tensor]
) -> tuple[np.ndarray, np.ndarray]:
  """The change of one layer: A [in, r] and B [r, out], scaled, float32."""
  down, up = read(parts['down'], np.float32), read(parts['up'], np.float32)
  if down.ndim != 2 or up.ndim != 2 or len(down) != up.shape[1]:
    raise UserError(
      f'{archive.path}: {layer} is changed by matrices of {up.shape} and '
      f'{down.shape}, which cannot be multiplied'
    )
  rank = len(down)
  if 'alpha' in parts:
    scale = float(read(parts['alpha'], np.float32)) / rank
  else:
    config = _config(archive)
    root = rank**0.5 if config.get('use_rslora') else rank
    scale = config.get('lora_alpha', root) / root
  return down.T, scale * up.T


def _config(archive: Archive) -> dict[str, Any]:
  """The LoraConfig of a file, of diffusers or of peft; {} if it has none."""
  config = json.loads(archive.metadata.get(_METADATA, '{}'))
  beside = archive.path.with_name('adapter_config.json')
  if archive.path.name.startswith('adapter_model.') and beside.is_file():
    config = json.loads(beside.read_text())
  config = {k.removeprefix('transformer.'): x for k, x in config.items()}
  if config.get('alpha_pattern'):
    raise UserError(
      f'{archive.path} gives some layers an alpha of their own by a pattern, '
      'which is not supported; save it with a tensor .alpha for each layer'
    )
  return config
