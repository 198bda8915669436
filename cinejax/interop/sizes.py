"""The sizes of a DiT, from its tensors, and the config.json of other layouts.

Shapes give all sizes but the number of heads. All models of Wan have heads of
128 features, unless a config.json beside the weights, or the metadata of
cinejax's weights, says otherwise.
"""

import functools
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import read_json
from cinejax.interop import names
from cinejax.interop.archive import Archive
from cinejax.interop.mapped import Tensor
from cinejax.interop.views import LeafView
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig

_HEAD_FEATURES = 128
_TI2V_CHANNELS = 48  # of Wan 2.2 TI2V-5B; all of Wan 2.1 have 16


def read_sizes(archive: Archive, layout: str) -> DiTConfig:
  """The config of a DiT in `layout`.

  Raises UserError if a tensor is missing whose shape is needed.
  """

  def shape(name: str) -> tuple[int, ...]:
    """The shape of our leaf `name`, of one layer."""
    if layout == 'cinejax':
      found = _need(archive, name).shape
      return found[name.startswith('blocks/') :]
    rule = {rule.ours: rule for rule in names.rules(layout)}[name]
    tensor = _need(archive, rule.theirs.format(0))
    return LeafView((tensor,), rule.how, stacked=False).shape

  rows, features = shape('patch_embedding/kernel')
  stated = _stated_sizes(archive)
  heads = stated.get('heads') or max(1, features // _HEAD_FEATURES)
  return DiTConfig(
    layers=_layers(archive.tensors, layout),
    heads=heads,
    head_features=features // heads,
    mlp_features=shape('blocks/mlp_in/kernel')[1],
    patch=names.PATCH,
    positions=tuple(stated.get('positions', (0, 0))),
    actions=stated.get('actions', 0),
    time_features=shape('time_in/kernel')[0],
    channels=rows // (names.PATCH[1] * names.PATCH[2]),
    text_features=shape('text_in/kernel')[0],
    epsilon=1e-6,
    compute_dtype='float32',
    remat='none',
    attention='auto',
    unroll='none',
    camera=tuple(stated.get('camera', (0.0, 0.0))),
  )


@functools.cache
def leaf_shapes(cfg: DiTConfig) -> dict[str, tuple[int, ...]]:
  """The shapes of all leaves of our DiT, by path."""
  init = functools.partial(denoiser.init_params, cfg)
  like = jax.eval_shape(init, jax.random.key(0))
  return {name: tuple(x.shape) for name, x in tree_lib.paths(like).items()}


def config_json(cfg: DiTConfig, layout: str) -> dict[str, Any]:
  """The content of the config.json beside weights in `layout`."""
  if layout == 'wan':
    return {
      '_class_name': 'WanModel',
      'model_type': 'ti2v' if cfg.channels == _TI2V_CHANNELS else 't2v',
      'dim': cfg.features,
      'eps': cfg.epsilon,
      'ffn_dim': cfg.mlp_features,
      'freq_dim': cfg.time_features,
      'in_dim': cfg.channels,
      'num_heads': cfg.heads,
      'num_layers': cfg.layers,
      'out_dim': cfg.channels,
      'text_len': 512,
    }
  return {
    '_class_name': 'WanTransformer3DModel',
    'added_kv_proj_dim': None,
    'attention_head_dim': cfg.head_features,
    'cross_attn_norm': True,
    'eps': cfg.epsilon,
    'ffn_dim': cfg.mlp_features,
    'freq_dim': cfg.time_features,
    'image_dim': None,
    'in_channels': cfg.channels,
    'num_attention_heads': cfg.heads,
    'num_layers': cfg.layers,
    'out_channels': cfg.channels,
    'patch_size': list(cfg.patch),
    'qk_norm': 'rms_norm_across_heads',
    'rope_max_seq_len': 1024,
    'text_dim': cfg.text_features,
  }


def _need(archive: Archive, name: str) -> Tensor:
  if name not in archive.tensors:
    raise UserError(
      f'{archive.path} has no {name}, so it is no DiT of Wan; give the '
      'weights of one, or those of a cinejax model'
    )
  return archive.tensors[name]


def _layers(tensors: Mapping[str, Tensor], layout: str) -> int:
  if layout == 'cinejax':
    return tensors['blocks/modulation'].shape[0]
  numbers = (re.match(r'blocks\.(\d+)\.', name) for name in tensors)
  return 1 + max(int(found[1]) for found in numbers if found)


def _stated_sizes(archive: Archive) -> dict[str, Any]:
  """The sizes that shapes do not give, from our metadata or a config.json."""
  if ours := archive.config('dit'):
    return ours
  theirs = read_json(pathlib.Path(archive.path).with_name('config.json'))
  return {'heads': theirs.get('num_heads') or theirs.get('num_attention_heads')}
