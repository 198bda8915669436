"""The names and shapes of a DiT's parameters in cinejax, Wan 2.1 and diffusers.

One table serves all directions. A linear weight of PyTorch is [out, in], one of
ours [in, out]. The patch convolution [D, C, 1, 2, 2] is a dense layer over
(y x C) here. The layers `blocks.0.`, `blocks.1.`, … are stacked along a leading
L here. Wan's norm3 is the affine norm before cross-attention, which diffusers
calls norm2. (wan/modules/model.py of Wan 2.1; convert_wan_to_diffusers.py of
diffusers.)
"""

import dataclasses
import functools
from collections.abc import Container

import einops
import numpy as np

PATCH = (1, 2, 2)  # of all models of Wan 2.1

# each row: the name in cinejax, in Wan and in diffusers
_DENSE = (
  ('text_in', 'text_embedding.0', 'condition_embedder.text_embedder.linear_1'),
  ('text_out', 'text_embedding.2', 'condition_embedder.text_embedder.linear_2'),
  ('time_in', 'time_embedding.0', 'condition_embedder.time_embedder.linear_1'),
  ('time_out', 'time_embedding.2', 'condition_embedder.time_embedder.linear_2'),
  ('time_projection', 'time_projection.1', 'condition_embedder.time_proj'),
  ('head', 'head.head', 'proj_out'),
)
_BLOCK = (
  ('mlp_in', 'ffn.0', 'ffn.net.0.proj'),
  ('mlp_out', 'ffn.2', 'ffn.net.2'),
)
_ATTENTIONS = (
  ('self_attention', 'self_attn', 'attn1'),
  ('cross_attention', 'cross_attn', 'attn2'),
)
_PROJECTIONS = (
  ('query', 'q', 'to_q'),
  ('key', 'k', 'to_k'),
  ('value', 'v', 'to_v'),
  ('out', 'o', 'to_out.0'),
)
_NORMS = (('query_norm', 'norm_q', 'norm_q'), ('key_norm', 'norm_k', 'norm_k'))


@dataclasses.dataclass(frozen=True)
class Rule:
  """A leaf of our DiT and its name in another layout."""

  ours: str
  theirs: str  # with `{}` for the number of the layer, if there is one for each
  how: str  # same | transposed | table | patch

  @property
  def stacked(self) -> bool:
    """Whether the leaf has a leading axis of layers."""
    return '{}' in self.theirs


@functools.cache
def rules(layout: str) -> tuple[Rule, ...]:
  """The rules of all leaves, for `layout` (diffusers | wan)."""
  column = {'wan': 1, 'diffusers': 2}[layout]
  wan = layout == 'wan'
  table = 'modulation' if wan else 'scale_shift_table'
  cross_norm = 'blocks.{}.norm3' if wan else 'blocks.{}.norm2'
  found = [
    Rule('patch_embedding/kernel', 'patch_embedding.weight', 'patch'),
    Rule('patch_embedding/bias', 'patch_embedding.bias', 'same'),
    Rule('head_modulation', f'head.{table}' if wan else table, 'table'),
    Rule('blocks/modulation', f'blocks.{{}}.{table}', 'table'),
    Rule('blocks/cross_norm/scale', f'{cross_norm}.weight', 'same'),
    Rule('blocks/cross_norm/bias', f'{cross_norm}.bias', 'same'),
  ]
  dense = [(row[0], row[column]) for row in _DENSE]
  dense += [
    (f'blocks/{row[0]}', f'blocks.{{}}.{row[column]}') for row in _BLOCK
  ]
  for kind in _ATTENTIONS:
    ours, theirs = f'blocks/{kind[0]}', f'blocks.{{}}.{kind[column]}'
    dense += [(f'{ours}/{p[0]}', f'{theirs}.{p[column]}') for p in _PROJECTIONS]
    found += [
      Rule(f'{ours}/{n[0]}/scale', f'{theirs}.{n[column]}.weight', 'same')
      for n in _NORMS
    ]
  for ours, theirs in dense:
    found.append(Rule(f'{ours}/kernel', f'{theirs}.weight', 'transposed'))
    found.append(Rule(f'{ours}/bias', f'{theirs}.bias', 'same'))
  return tuple(found)


def layout_of(names: Container[str]) -> str | None:
  """The layout that `names` are of: cinejax, diffusers or wan.

  None: they are not the names of a DiT.
  """
  scores = {
    layout: sum(rule.theirs.format(0) in names for rule in rules(layout))
    for layout in ('diffusers', 'wan')
  }
  scores['cinejax'] = sum(rule.ours in names for rule in rules('wan'))
  best = max(scores, key=scores.__getitem__)
  # a few names, such as those of patch_embedding, are in several layouts
  return best if scores[best] > len(rules('wan')) // 2 else None


def to_ours(x: np.ndarray, how: str) -> np.ndarray:
  """Converts a tensor of another layout to our leaf, of one layer."""
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[0]
  if how == 'patch':
    return einops.rearrange(x, 'd c 1 py px -> (py px c) d')
  return x


def to_theirs(x: np.ndarray, how: str) -> np.ndarray:
  """Converts our leaf, of one layer, to a tensor of another layout."""
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[None]
  if how == 'patch':
    _, py, px = PATCH
    return einops.rearrange(x, '(py px c) d -> d c 1 py px', py=py, px=px)
  return x


def their_shape(shape: tuple[int, ...], how: str) -> tuple[int, ...]:
  """The shape of what `to_theirs` makes of a leaf of `shape`."""
  return to_theirs(np.broadcast_to(np.int8(0), shape), how).shape
