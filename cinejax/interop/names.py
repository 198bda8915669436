"""Our DiT tree <-> the tensor names of diffusers' WanTransformer3DModel.

One table, read both ways. A torch linear weight is [out, in] and ours
[in, out]; the patch convolution [D, C, 1, py, px] is a dense layer over
(py px C); what diffusers repeats as `blocks.0.`, `blocks.1.`, … we stack along
a leading L. diffusers' norm2 is the affine norm before cross-attention.
"""

from collections.abc import Mapping
from typing import Any

import einops
import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.models.config import DiTConfig

_ATTENTION = {
  'query': 'to_q',
  'key': 'to_k',
  'value': 'to_v',
  'out': 'to_out.0',
}
_DENSE = {  # inside a block: ours -> theirs
  **{f'self_attention/{a}': f'attn1.{b}' for a, b in _ATTENTION.items()},
  **{f'cross_attention/{a}': f'attn2.{b}' for a, b in _ATTENTION.items()},
  'mlp_in': 'ffn.net.0.proj',
  'mlp_out': 'ffn.net.2',
}
_SCALES = {
  'self_attention/query_norm': 'attn1.norm_q',
  'self_attention/key_norm': 'attn1.norm_k',
  'cross_attention/query_norm': 'attn2.norm_q',
  'cross_attention/key_norm': 'attn2.norm_k',
  'cross_norm': 'norm2',
}
_TOP = {  # outside the blocks
  'text_in': 'condition_embedder.text_embedder.linear_1',
  'text_out': 'condition_embedder.text_embedder.linear_2',
  'time_in': 'condition_embedder.time_embedder.linear_1',
  'time_out': 'condition_embedder.time_embedder.linear_2',
  'time_projection': 'condition_embedder.time_proj',
  'head': 'proj_out',
}


def _leaf_names() -> dict[str, tuple[str, str]]:
  """Ours -> (theirs, how); a `blocks.` name stands for one in each layer."""
  names = {
    'patch_embedding/kernel': ('patch_embedding.weight', 'patch'),
    'patch_embedding/bias': ('patch_embedding.bias', 'same'),
    'head_modulation': ('scale_shift_table', 'table'),
    'blocks/modulation': ('blocks.scale_shift_table', 'table'),
    'blocks/cross_norm/bias': ('blocks.norm2.bias', 'same'),
  }
  dense = _TOP | {
    f'blocks/{ours}': f'blocks.{theirs}' for ours, theirs in _DENSE.items()
  }
  for ours, theirs in dense.items():
    names[f'{ours}/kernel'] = (f'{theirs}.weight', 'transposed')
    names[f'{ours}/bias'] = (f'{theirs}.bias', 'same')
  for ours, theirs in _SCALES.items():
    names[f'blocks/{ours}/scale'] = (f'blocks.{theirs}.weight', 'same')
  return names


def _to_theirs(x: np.ndarray, how: str, cfg: DiTConfig) -> np.ndarray:
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[None]
  if how == 'patch':
    _, py, px = cfg.patch
    return einops.rearrange(
      x, '(py px c) d -> d c 1 py px', py=py, px=px, c=cfg.channels
    )
  return x


def _to_ours(x: np.ndarray, how: str) -> np.ndarray:
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[0]
  if how == 'patch':
    return einops.rearrange(x, 'd c 1 py px -> (py px c) d')
  return x


def to_diffusers(params: Any, cfg: DiTConfig) -> dict[str, np.ndarray]:
  """Our tree as tensors named as in diffusers, in the types it has."""
  tensors = {}
  ours = tree_lib.paths(params)
  for name, (theirs, how) in _leaf_names().items():
    x = np.asarray(ours[name])
    if not theirs.startswith('blocks.'):
      tensors[theirs] = _to_theirs(x, how, cfg)
      continue
    for layer in range(cfg.layers):
      full = theirs.replace('blocks.', f'blocks.{layer}.', 1)
      tensors[full] = _to_theirs(x[layer], how, cfg)
  return tensors


def from_diffusers(
  tensors: Mapping[str, np.ndarray], like: Any, cfg: DiTConfig
) -> dict[str, Any]:
  """Tensors named as in diffusers as our tree.

  `like` is the tree of arrays or shapes of `init_params(cfg)`. Raises
  UserError with every missing, extra and misshapen tensor in one sentence.
  """
  wanted = {name: x.shape for name, x in _theirs_like(like, cfg).items()}
  _check(tensors, wanted)
  flat = {}
  for name, (theirs, how) in _leaf_names().items():
    if not theirs.startswith('blocks.'):
      flat[name] = _to_ours(np.asarray(tensors[theirs]), how)
      continue
    flat[name] = np.stack(
      [
        _to_ours(
          np.asarray(tensors[theirs.replace('blocks.', f'blocks.{i}.', 1)]), how
        )
        for i in range(cfg.layers)
      ]
    )
  return tree_lib.nested(flat)


def _theirs_like(like: Any, cfg: DiTConfig) -> dict[str, np.ndarray]:
  """The names and shapes that `to_diffusers` gives, without memory."""
  empty = {
    name: np.broadcast_to(np.float32(0), x.shape)
    for name, x in tree_lib.paths(like).items()
  }
  return to_diffusers(tree_lib.nested(empty), cfg)


def _check(tensors, wanted) -> None:
  missing = sorted(wanted.keys() - tensors.keys())
  extra = sorted(tensors.keys() - wanted.keys())
  misshapen = [
    f'{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}'
    for name, shape in sorted(wanted.items())
    if name in tensors and tuple(tensors[name].shape) != tuple(shape)
  ]
  faults = [
    f'{word}: {", ".join(names)}'
    for word, names in (
      ('missing', missing),
      ('extra', extra),
      ('misshapen', misshapen),
    )
    if names
  ]
  if faults:
    raise UserError(
      f'the tensors do not fit the config; {"; ".join(faults)}; take the '
      'config of the model that they come from'
    )
