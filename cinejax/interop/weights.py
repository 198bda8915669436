"""Loads weights files as the parameters of a given network.

Files may have any precision, and those of a DiT any layout: cinejax's, Wan's or
diffusers'. They are checked, name by name and shape by shape, against the
network that will use them. They are read leaf by leaf, and for each device its
part alone, so that no host holds the whole.
"""

import os
import pathlib
from collections.abc import Collection, Sequence
from typing import Any

import jax
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.interop import codecs, names, views
from cinejax.interop.adapters import parse, with_adapter
from cinejax.interop.archive import locate, open_archive
from cinejax.interop.mapped import Tensor, place, read
from cinejax.models.codec import taef2
from cinejax.models.codec.base import Codec
from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig


def load_params(
  path: str | os.PathLike,
  like: Any,
  adapters: Sequence[str] = (),
  may_lack: Collection[str] = (),
) -> dict[str, Any]:
  """Loads parameters, in the types and on the devices of `like`.

  Args:
    path: a file of a format that interop/archive.py reads, or a folder with a
      DiT.
    like: the network's parameters, a nested dict of arrays or their shapes.
      For leaves with a sharding, each device reads its own part; the others
      become numpy arrays.
    adapters: files of adapters to merge into a DiT, `FILE` or `FILE:STRENGTH`.
    may_lack: paths of leaves that are zero if the file does not have them.

  Raises:
    UserError: the file is missing, broken, or of another network; a few
      missing, extra and misshapen tensors are named.
  """
  wanted = tree_lib.paths(like)
  shapes = {name: tuple(x.shape) for name, x in wanted.items()}
  is_dit = 'blocks/modulation' in shapes
  if is_dit and pathlib.Path(path).is_dir():
    path = locate(path, 'base')
  tensors = open_archive(path).tensors
  lacking = (shapes.keys() & may_lack) - tensors.keys()
  zeros = {
    name: np.broadcast_to(np.float32(0), shapes.pop(name)) for name in lacking
  }
  layout = 'cinejax'
  if is_dit:
    layout = names.layout_of(tensors) or layout
  try:
    leaves = views.to_leaves(tensors, layout, shapes)
  except UserError as error:
    raise UserError(f'{path}: {error}') from error
  for adapter in adapters:
    leaves = with_adapter(leaves, *parse(adapter))
  leaves = {**leaves, **zeros}
  return tree_lib.nested(
    {name: _placed(leaves[name], x) for name, x in wanted.items()}
  )


def _placed(tensor: Tensor, like: Any) -> Any:
  sharding = getattr(like, 'sharding', None)
  if sharding is None:
    return read(tensor, like.dtype)
  return place(tensor, like.dtype, sharding)


def codec_files(name: str, path: str | os.PathLike) -> list[pathlib.Path]:
  """The files that `load_codec` reads for the codec `name`; taef2 has two.

  Raises UserError if `path` has none of the published files.
  """
  path = pathlib.Path(path)
  if name == 'taef2':
    return sorted(taef2.files(path).values())
  if name in codecs.PUBLISHED:
    return [codecs.find(name, path)]
  is_folder = path.is_dir() or not path.suffix  # it need not exist
  return [path / 'codec.safetensors' if is_folder else path]


def load_codec(
  cfg: CodecConfig, path: str | os.PathLike
) -> tuple[Codec, dict[str, Any]]:
  """Loads the codec of `cfg` with its float32 parameters.

  `path` is a file, or a folder with codec.safetensors or, for published codecs,
  with the file that their authors published. Raises UserError as `load_params`
  does.
  """
  codec = make_codec(cfg)
  if cfg.name == 'taef2':
    return codec, taef2.load_taef2(path)
  (file,) = codec_files(cfg.name, path)
  if cfg.name in codecs.PUBLISHED:
    archive = open_archive(file)
    if 'mean_C' not in archive.tensors:  # a published file, not one of ours
      return codec, codecs.read_published(codec, archive)
  return codec, load_params(file, jax.eval_shape(codec.init, jax.random.key(0)))
