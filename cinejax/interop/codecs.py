"""The published weights of Wan's video autoencoders and of TAEHV.

Our modules have the names of the originals:
`encoder/downsamples.0/residual.2/kernel` is
`encoder.downsamples.0.residual.2.weight`. diffusers names those of Wan
otherwise:

    downsamples.N        down_blocks.N
    upsamples.N          up_blocks.L.resnets.I, or its upsamplers.0
    middle.0, 1, 2       mid_block.resnets.0, attentions.0, resnets.1
    residual.0, 2, 3, 6  norm1, conv1, norm2, conv2

and in Wan 2.2, where the layers of a level are a group

    downsamples.N.downsamples.I  down_blocks.N.resnets.I, or .downsampler
    upsamples.N.upsamples.I      up_blocks.N.resnets.I, or .upsampler

A kernel of PyTorch is [out, in, t, y, x], one of ours [t, y, x, in, out], or
[in, out] where the window is one pixel. The files do not have the statistics of
the latents.
"""

import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.interop.archive import Archive, find_archive
from cinejax.interop.mapped import read
from cinejax.interop.views import check
from cinejax.models.codec.taehv import Taehv
from cinejax.models.codec.wan_vae import STATISTICS, WanVae

_QUANT = {  # (original, diffusers)
  'encoder/quant': ('conv1', 'quant_conv'),
  'decoder/quant': ('conv2', 'post_quant_conv'),
}
_RESIDUAL = {
  'residual.0': 'norm1',
  'residual.2': 'conv1',
  'residual.3': 'norm2',
  'residual.6': 'conv2',
  'shortcut': 'conv_shortcut',
}
_OUTER = {
  'conv1': 'conv_in',
  'head.0': 'norm_out',
  'head.2': 'conv_out',
  'middle.0': 'mid_block.resnets.0',
  'middle.1': 'mid_block.attentions.0',
  'middle.2': 'mid_block.resnets.1',
}


_LAYER = re.compile(r'(down|up)samples\.(\d+)')


# by codec: names of the published files, and how to fetch them
PUBLISHED = {
  'wan_vae': (
    ('codec', 'Wan2.1_VAE', 'vae/diffusion_pytorch_model'),
    '`hf download Wan-AI/Wan2.1-T2V-1.3B Wan2.1_VAE.pth --local-dir=DIR`',
  ),
  'wan22_vae': (
    ('codec', 'Wan2.2_VAE', 'vae/diffusion_pytorch_model'),
    '`hf download Wan-AI/Wan2.2-TI2V-5B Wan2.2_VAE.pth --local-dir=DIR`',
  ),
  'taehv': (
    ('codec', 'taew2_1', 'safetensors/taew2_1'),
    '`git clone https://github.com/madebyollin/taehv DIR`',
  ),
}


def find(name: str, path: str | os.PathLike) -> pathlib.Path:
  """The weights file of the codec `name`: `path`, or a file in that folder.

  Raises UserError if there is none.
  """
  names, source = PUBLISHED[name]
  path = pathlib.Path(path)
  file = find_archive(path, *names) if path.is_dir() else path
  if file is None or not file.is_file():
    raise UserError(
      f'there are no weights of {name} at {path}; {source} fetches them'
    )
  return file


def read_published(codec: WanVae | Taehv, archive: Archive) -> dict[str, Any]:
  """Float32 parameters of `codec`, numpy arrays, from its published weights.

  Raises UserError, which lists missing, extra and misshapen tensors.
  """
  read_theirs = read_wan_vae if isinstance(codec, WanVae) else read_taehv
  try:
    return read_theirs(codec, archive)
  except UserError as error:
    raise UserError(f'{archive.path}: {error}') from error


def read_wan_vae(codec: WanVae, archive: Archive) -> dict[str, Any]:
  """Parameters from the tensors of the original or of diffusers."""
  diffusers = 'quant_conv.weight' in archive.tensors
  params = _read(
    codec,
    archive.tensors,
    lambda path: wan_name(path, codec.cfg.blocks, diffusers),
  )
  mean_C, std_C = STATISTICS[codec.cfg.name]
  if codec.channels == len(mean_C):  # tests have other sizes
    params['mean_C'] = np.asarray(mean_C, np.float32)
    params['std_C'] = np.asarray(std_C, np.float32)
  return params


def read_taehv(codec: Taehv, archive: Archive) -> dict[str, Any]:
  """Parameters from TAEHV's tensors, without its encoder."""
  tensors = {
    name: x
    for name, x in archive.tensors.items()
    if not name.startswith('encoder.')
  }
  return _read(codec, tensors, _plain_name)


def wan_name(path: str, blocks: int, diffusers: bool) -> str:
  """The name of a leaf in the original or in diffusers."""
  module, leaf = path.rsplit('/', 1)
  if module in _QUANT:
    return _plain_name(f'{_QUANT[module][diffusers]}/{leaf}')
  if not diffusers:
    return _plain_name(path)
  half, outer, *inner = module.split('/')
  if inner and _LAYER.fullmatch(inner[0]):
    group, layer = outer.split('.')[1], _LAYER.fullmatch(inner[0])
    outer = _in_group(group, layer, blocks)
    inner = inner[1:]
  else:
    outer = _their_block(outer, blocks)
  inner = [_RESIDUAL.get(name, name) for name in inner]
  return _plain_name('/'.join([half, outer, *inner, leaf]))


def wan_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
  """The shape of the tensor that the leaf `path`, of `shape`, is read from."""
  if len(shape) == 1 and not path.endswith('gamma'):
    return shape
  # layers of single pictures have no axis of time
  ones = (1, 1) if '/middle.1/' in path else (1, 1, 1)
  if len(shape) == 1:
    return shape + ones
  *window, width_in, width = shape
  return (width, width_in, *(window or ones))


def _in_group(number: str, layer: re.Match, blocks: int) -> str:
  """diffusers' name of a layer of the group `number`."""
  half, i = layer[1], int(layer[2])
  last = blocks if half == 'down' else blocks + 1  # of the residual layers
  kind = f'resnets.{i}' if i < last else f'{half}sampler'
  return f'{half}_blocks.{number}.{kind}'


def _their_block(outer: str, blocks: int) -> str:
  """diffusers' name of a layer of the encoder or the decoder."""
  if match := re.fullmatch(r'upsamples\.(\d+)', outer):
    level, i = divmod(int(match[1]), blocks + 2)
    kind = f'resnets.{i}' if i <= blocks else 'upsamplers.0'
    return f'up_blocks.{level}.{kind}'
  return _OUTER.get(outer, outer.replace('downsamples', 'down_blocks'))


def _plain_name(path: str) -> str:
  return re.sub('/kernel$', '/weight', path).replace('/', '.')


def _read(
  codec: WanVae | Taehv,
  tensors: dict[str, Any],
  name_of: Callable[[str], str],
) -> dict[str, Any]:
  like = tree_lib.paths(jax.eval_shape(codec.init, jax.random.key(0)))
  shapes = {path: x.shape for path, x in like.items() if '/' in path}
  check(
    tensors,
    {name_of(path): wan_shape(path, shape) for path, shape in shapes.items()},
  )
  tree = {
    'mean_C': np.zeros(codec.channels, np.float32),
    'std_C': np.ones(codec.channels, np.float32),
  }
  for path, shape in shapes.items():
    x = read(tensors[name_of(path)], np.float32)
    if x.ndim > 1:
      x = np.moveaxis(x, (1, 0), (-2, -1))  # [out, in, …] -> […, in, out]
    tree[path] = x.reshape(shape)
  return tree_lib.nested(tree)
