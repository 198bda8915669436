"""Archives: weights files of several formats, read as tensors by name.

  FILE.safetensors               one file
  NAME.safetensors.index.json    shards, as diffusers and Wan write them
  FILE.pth, .pt                  checkpoints of PyTorch (interop/pickled.py)
  FILE.gguf                      quantized weights (interop/ggml.py)
  a folder with one of these     Wan's, or a pipeline of diffusers

A file is read by what it holds, whatever its name (interop/contents.py), and
weights of eight bits by their scales (interop/scaled.py).

Checkpoints may hold several networks, such as `generator`, `generator_ema` and
`critic` of Self Forcing, as dicts or as prefixes of names; the averaged one is
taken unless another is named. Prefixes that wrappers put into names (`model.`,
`model.diffusion_model.` of ComfyUI, those of FSDP and of the compiler) are
removed.
"""

import dataclasses
import json
import os
import pathlib
import re
from typing import Any

from cinejax.core.errors import UserError
from cinejax.interop import contents
from cinejax.interop.ggml import read_gguf
from cinejax.interop.mapped import (
  MappedTensor,
  Tensor,
  read_safetensors,
  without_twins,
)
from cinejax.interop.pickled import read_torch
from cinejax.interop.scaled import dequantized
from cinejax.interop.wrappers import bare, choose, of_prefix

INDEX = '.safetensors.index.json'
PUBLISHED_NAME = 'diffusion_pytorch_model'  # of any network of Wan, diffusers
TORCH = ('.pth', '.pt')


@dataclasses.dataclass(frozen=True)
class Archive:
  """Tensors by name, and the metadata of their files."""

  path: pathlib.Path
  tensors: dict[str, Tensor]
  metadata: dict[str, str]

  def config(self, section: str) -> dict[str, Any]:
    """A section of the config in the metadata of cinejax's weights.

    {} if there is none. Raises UserError if it cannot be read.
    """
    try:
      found = json.loads(self.metadata.get('config', '{}')).get(section, {})
    except (ValueError, AttributeError):
      found = None
    if not isinstance(found, dict):
      raise UserError(
        f'{self.path}: its metadata holds a broken config; fetch or make it '
        'again'
      )
    return found


def open_archive(path: str | os.PathLike, network: str = '') -> Archive:
  """Reads names, shapes and places of tensors; their data stay in the file.

  Args:
    path: of a file of one of the formats above.
    network: the one to take from a checkpoint that holds several; '': see
      above.

  Raises:
    UserError: the file is missing or broken, or has no such network.
  """
  path, metadata = pathlib.Path(path), {}
  index = path.name.endswith(INDEX)
  kind = 'safetensors' if index else contents.kind_of(path)
  if kind == 'torch' or (not kind and path.name.endswith(TORCH)):
    tensors = choose(path, read_torch(path), network)
  elif kind == 'gguf':
    tensors = read_gguf(path)
  elif index:
    tensors, metadata = _read_shards(path)
  else:
    tensors, metadata = read_safetensors(path)
  if kind != 'torch' or not network:
    tensors = of_prefix(path, tensors, network)
  tensors = dequantized(path, bare(path, tensors), metadata)
  return Archive(path, tensors, metadata)


def find_archive(folder: str | os.PathLike, *names: str) -> pathlib.Path | None:
  """The first of `names` that is in `folder`, whole or in shards; or None.

  Names have no suffix: `base` finds base.safetensors.index.json,
  base.safetensors, base.pth or base.pt.
  """
  for name in names:
    for suffix in (INDEX, '.safetensors', *TORCH, '.gguf'):
      path = pathlib.Path(folder) / f'{name}{suffix}'
      if path.is_file():
        return path
  return None


def locate(path: str | os.PathLike, name: str) -> pathlib.Path:
  """The archive of a DiT: `path` itself or, if that is a folder, one in it.

  In a folder it is named `name` or PUBLISHED_NAME, or is PUBLISHED_NAME in the
  folder `transformer`. Raises UserError if there is none.
  """
  path = pathlib.Path(path)
  if path.is_file():
    return path
  _check_experts(path)
  found = find_archive(path, name, PUBLISHED_NAME)
  found = found or find_archive(path / 'transformer', PUBLISHED_NAME)
  if found is None:
    raise UserError(
      f'there is no {path / name}.safetensors, nor '
      f'{PUBLISHED_NAME}.safetensors beside it{_present(path)}; give a '
      'weights file, or a folder that has one of them'
    )
  return found


def _check_experts(folder: pathlib.Path) -> None:
  """Raises UserError for a folder with the two networks of Wan 2.2 14B."""
  for experts in (
    ('high_noise_model', 'low_noise_model'),
    ('transformer', 'transformer_2'),
  ):
    if all((folder / name).is_dir() for name in experts):
      raise UserError(
        f'{folder} is Wan 2.2 14B, which has two networks, '
        f'{" and ".join(experts)}, for different levels of noise, and cinejax '
        'directs with one; give Wan 2.1 14B, or the folder '
        f'{folder / experts[1]} to train from that one'
      )


def _present(folder: pathlib.Path) -> str:
  """A clause on the weights that are in `folder` instead; '' if none are."""
  files = [path for path in sorted(folder.glob('*')) if path.is_file()]
  if any(re.search(r'-\d{5}-of-\d{5}\.safetensors$', x.name) for x in files):
    return (
      f'; {folder} has shards without their index, {PUBLISHED_NAME}{INDEX}, '
      'which must be fetched too'
    )
  suffixes = ('.safetensors', '.gguf', *TORCH)
  others = [x.name for x in files if x.suffix in suffixes]
  return f'; {folder} has {", ".join(others)}' if others else ''


def files_of(path: str | os.PathLike) -> list[pathlib.Path]:
  """The files of the archive `path`: itself or, for an index, its shards.

  Raises UserError if an index is missing or broken, or names missing files.
  """
  path = pathlib.Path(path)
  if not path.name.endswith(INDEX):
    return [path]
  shards = sorted(set(_weight_map(path).values()))
  absent = [shard.name for shard in shards if not shard.is_file()]
  if absent:
    raise UserError(
      f'{path} names {", ".join(absent)}, which {path.parent} lacks; fetch '
      'what is missing'
    )
  return shards


def _weight_map(index: pathlib.Path) -> dict[str, pathlib.Path]:
  """The file of each tensor, by name."""
  if not index.is_file():
    raise UserError(f'there is no weights file {index}; check the path')
  try:
    content = json.loads(index.read_text(), object_pairs_hook=without_twins)
    files = content['weight_map']
    return {
      name: index.parent / pathlib.Path(file).name
      for name, file in files.items()
    }
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f'{index} is no index of shards ({error}); fetch or make it again'
    ) from error


def _read_shards(
  index: pathlib.Path,
) -> tuple[dict[str, MappedTensor], dict[str, str]]:
  shards, metadata = {}, {}
  for shard in files_of(index):
    shards[shard], header = read_safetensors(shard)
    metadata |= header
  files = _weight_map(index)
  lost = sorted(name for name in files if name not in shards[files[name]])
  if lost:
    raise UserError(
      f'{index} names {", ".join(lost)}, which its shards do not hold; fetch '
      'or make them again'
    )
  return {name: shards[file][name] for name, file in files.items()}, metadata
