"""Writes large weights as safetensors, piece by piece.

The header of a file needs shapes and types alone, so that the data can be
streamed after it. Weights that are too large for one file become shards,
NAME-00001-of-00003.safetensors, and NAME.safetensors.index.json, which is
written last: shards without it are not read.
"""

import json
import os
import pathlib
from collections.abc import Callable, Mapping

import numpy as np

from cinejax.core.files import atomic_path
from cinejax.interop.archive import INDEX
from cinejax.interop.mapped import DTYPES, Tensor, slabs, tensor_bytes

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


def write_shards(
  folder: str | os.PathLike,
  name: str,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str],
  *,
  shard_bytes: int,
  on_written: Callable[[int], None] = lambda count: None,
) -> pathlib.Path:
  """Writes `tensors` in their own types.

  Args:
    folder: created if missing; files of that name in it are replaced.
    name: of the weights, without suffix.
    tensors: by name; each is read once, in pieces.
    metadata: written into every file.
    shard_bytes: greatest size of a file, unless one tensor is larger.
    on_written: called with the number of bytes after each piece.

  Returns:
    The file, or the index if there are several.
  """
  folder, groups = pathlib.Path(folder), _split(tensors, shard_bytes)
  index, whole = folder / f'{name}{INDEX}', folder / f'{name}.safetensors'
  if len(groups) == 1:
    _write_file(whole, tensors, metadata, on_written)
    index.unlink(missing_ok=True)
    return whole
  index.unlink(missing_ok=True)  # it would describe files that are replaced
  weight_map = {}
  for number, group in enumerate(groups, 1):
    file = f'{name}-{number:05d}-of-{len(groups):05d}.safetensors'
    held = {key: tensors[key] for key in group}
    _write_file(folder / file, held, metadata, on_written)
    weight_map |= dict.fromkeys(group, file)
  total = sum(map(tensor_bytes, tensors.values()))
  content = {'metadata': {'total_size': total}, 'weight_map': weight_map}
  with atomic_path(index) as path:
    path.write_text(json.dumps(content, indent=2) + '\n')
  whole.unlink(missing_ok=True)
  return index


def _split(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
  """Names of the tensors of each file, in order."""
  groups, left = [[]], shard_bytes
  for name, tensor in tensors.items():
    size = tensor_bytes(tensor)
    if size > left and groups[-1]:
      groups.append([])
      left = shard_bytes
    groups[-1].append(name)
    left -= size
  return groups


def _write_file(
  path: pathlib.Path,
  tensors: Mapping[str, Tensor],
  metadata: Mapping[str, str],
  on_written: Callable[[int], None],
) -> None:
  # wide types first, so that each tensor is aligned to the width of its type
  order = sorted(tensors, key=lambda name: -tensors[name].dtype.itemsize)
  header, end = {'__metadata__': dict(metadata)}, 0
  for name in order:
    tensor, start = tensors[name], end
    end = start + tensor_bytes(tensor)
    header[name] = {
      'dtype': _NAMES[tensor.dtype],
      'shape': list(tensor.shape),
      'data_offsets': [start, end],
    }
  text = json.dumps(header).encode()
  text += b' ' * (-len(text) % 8)
  with atomic_path(path) as partial, partial.open('wb') as file:
    file.write(len(text).to_bytes(8, 'little') + text)
    for name in order:
      for _, piece in slabs(tensors[name]):
        file.write(np.ascontiguousarray(piece).reshape(-1).view(np.uint8))
        on_written(piece.nbytes)
    file.flush()
    os.fsync(file.fileno())
