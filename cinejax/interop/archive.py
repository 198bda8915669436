"""Archives: weights files of several formats, read as tensors by name.

  FILE.safetensors               one file
  NAME.safetensors.index.json    shards, as diffusers and Wan write them
  FILE.pth, .pt                  checkpoints of PyTorch (interop/pickled.py)
  a folder with one of these     Wan's, or a pipeline of diffusers

Checkpoints of Self Forcing and Causal Forcing hold several networks,
`generator`, `generator_ema` and `critic`; the averaged one is taken unless
another is named. Prefixes that wrappers put into names (`model.`, those of FSDP
and of the compiler) are removed.
"""

import dataclasses
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from cinejax.core.errors import UserError
from cinejax.interop.mapped import MappedTensor, Tensor, read_safetensors
from cinejax.interop.pickled import read_torch

INDEX = '.safetensors.index.json'
PUBLISHED_NAME = 'diffusion_pytorch_model'  # of any network of Wan, diffusers
TORCH = ('.pth', '.pt')
_NETWORKS = ('generator_ema', 'generator', 'model', 'state_dict')
_WRAPPERS = {'_fsdp_wrapped_module', '_checkpoint_wrapped_module', '_orig_mod'}
_OUTER = {'base_model', 'model', 'module', 'diffusion_model', 'transformer'}


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
  if path.name.endswith(TORCH):
    tensors = _choose(path, read_torch(path), network)
  elif network:
    raise UserError(
      f'{path} holds one network, not {network} among several; name no network'
    )
  elif path.name.endswith(INDEX):
    tensors, metadata = _read_shards(path)
  else:
    tensors, metadata = read_safetensors(path)
  return Archive(path, _bare(path, tensors), metadata)


def find_archive(folder: str | os.PathLike, *names: str) -> pathlib.Path | None:
  """The first of `names` that is in `folder`, whole or in shards; or None.

  Names have no suffix: `base` finds base.safetensors.index.json,
  base.safetensors, base.pth or base.pt.
  """
  for name in names:
    for suffix in (INDEX, '.safetensors', *TORCH):
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
  found = find_archive(path, name, PUBLISHED_NAME)
  found = found or find_archive(path / 'transformer', PUBLISHED_NAME)
  if found is None:
    raise UserError(
      f'there is no {path / name}.safetensors, nor '
      f'{PUBLISHED_NAME}.safetensors beside it{_present(path)}; give a '
      'weights file, or a folder that has one of them'
    )
  return found


def _present(folder: pathlib.Path) -> str:
  """A clause on the weights that are in `folder` instead; '' if none are."""
  files = [path for path in sorted(folder.glob('*')) if path.is_file()]
  if any(re.search(r'-\d{5}-of-\d{5}\.safetensors$', x.name) for x in files):
    return (
      f'; {folder} has shards without their index, {PUBLISHED_NAME}{INDEX}, '
      'which must be fetched too'
    )
  others = [x.name for x in files if x.suffix in ('.safetensors', *TORCH)]
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


def bare_name(name: str) -> str:
  """A tensor's name without the prefixes of wrappers."""
  parts = [part for part in name.split('.') if part not in _WRAPPERS]
  while len(parts) > 1 and parts[0] in _OUTER:
    parts = parts[1:]
  return '.'.join(parts)


def _bare(
  path: pathlib.Path, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
  bare = {bare_name(name): tensor for name, tensor in tensors.items()}
  if len(bare) != len(tensors):
    raise UserError(
      f'{path} has several tensors of one name, if wrappers such as model. are '
      'left out of names; save one network alone'
    )
  return bare


def _choose(
  path: pathlib.Path, found: Mapping[str, Any], network: str
) -> dict[str, MappedTensor]:
  """The state dict of one network of a checkpoint."""
  networks = [name for name, x in found.items() if isinstance(x, Mapping)]
  if network and network not in networks:
    raise UserError(
      f'{path} has no network {network}; it has {", ".join(networks) or "one"}'
    )
  if networks:
    known = [name for name in _NETWORKS if name in networks]
    if not network and not known and len(networks) > 1:
      raise UserError(
        f'{path} holds the networks {", ".join(networks)}; name one'
      )
    network = network or (known or networks)[0]
    found = found[network]
  for name, x in found.items():
    if not isinstance(x, MappedTensor):
      raise UserError(
        f'{path} holds {name}, a {type(x).__name__}, among its tensors; save '
        'a state dict'
      )
  return dict(found)


def _weight_map(index: pathlib.Path) -> dict[str, pathlib.Path]:
  """The file of each tensor, by name."""
  if not index.is_file():
    raise UserError(f'there is no weights file {index}; check the path')
  try:
    files = json.loads(index.read_text())['weight_map']
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
  tensors, metadata = {}, {}
  for shard in files_of(index):
    found, header = read_safetensors(shard)
    tensors |= found
    metadata |= header
  names = _weight_map(index)
  lost = sorted(names.keys() - tensors.keys())
  if lost:
    raise UserError(
      f'{index} names {", ".join(lost)}, which its shards do not hold; fetch '
      'or make them again'
    )
  return {name: tensors[name] for name in names}, metadata
