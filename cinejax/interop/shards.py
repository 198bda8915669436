"""Large weights written as safetensors, a piece at a time.

A file's header needs shapes and types alone, so the data are streamed after
it. Beyond one file there are shards NAME-00001-of-00003.safetensors and
NAME.safetensors.index.json, written last: without it there is nothing.
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
  tell: Callable[[int], None] = lambda count: None,
) -> pathlib.Path:
  """Writes `tensors` in their own types; -> the file, or the index of several.

  Args:
    folder: made if missing; files of that name in it are replaced.
    name: of the weights, without suffix.
    tensors: by name; each is read once, in pieces.
    metadata: goes into every file.
    shard_bytes: no file holds more, unless one tensor does.
    tell: called with the number of bytes written, again and again.
  """
  folder, groups = pathlib.Path(folder), _split(tensors, shard_bytes)
  index, whole = folder / f'{name}{INDEX}', folder / f'{name}.safetensors'
  for old in (index, whole):  # it would tell of tensors that are replaced
    old.unlink(missing_ok=True)
  if len(groups) == 1:
    _write_file(whole, tensors, metadata, tell)
    return whole
  weight_map = {}
  for number, group in enumerate(groups, 1):
    file = f'{name}-{number:05d}-of-{len(groups):05d}.safetensors'
    held = {key: tensors[key] for key in group}
    _write_file(folder / file, held, metadata, tell)
    weight_map |= dict.fromkeys(group, file)
  total = sum(map(tensor_bytes, tensors.values()))
  content = {'metadata': {'total_size': total}, 'weight_map': weight_map}
  with atomic_path(index) as path:
    path.write_text(json.dumps(content, indent=2) + '\n')
  return index


def _split(tensors: Mapping[str, Tensor], shard_bytes: int) -> list[list[str]]:
  """Names, in order, in groups of at most `shard_bytes`."""
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
  tell: Callable[[int], None],
) -> None:
  # wide types first, so that every tensor lies at a multiple of its width
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
        tell(piece.nbytes)
    file.flush()
    os.fsync(file.fileno())
