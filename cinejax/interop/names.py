"""Our DiT's names and those of Wan 2.1 and diffusers: one table, read any way.

A torch linear weight is [out, in] and ours [in, out]; the patch convolution
[D, C, 1, 2, 2] is a dense layer over (y x C); what they repeat as `blocks.0.`,
`blocks.1.`, … we stack along a leading L. Wan's norm3 is the affine norm
before cross-attention, and diffusers calls it norm2. (Wan 2.1's
wan/modules/model.py; diffusers' convert_wan_to_diffusers.py.)
"""

import dataclasses
import functools
from collections.abc import Container

import einops
import numpy as np

LAYOUTS = ('cinejax', 'diffusers', 'wan')
PATCH = (1, 2, 2)  # of every Wan 2.1

# ours, Wan's, diffusers'
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
  """One of our leaves and what it is called elsewhere."""

  ours: str
  theirs: str  # with `{}` where there is one for each layer
  how: str  # same | transposed | table | patch

  @property
  def stacked(self) -> bool:
    return '{}' in self.theirs


@functools.cache
def rules(layout: str) -> tuple[Rule, ...]:
  """Every leaf of our DiT, in `layout` (diffusers | wan)."""
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
  """The layout that most of `names` belong to; None for no DiT of ours."""
  scores = {
    layout: sum(rule.theirs.format(0) in names for rule in rules(layout))
    for layout in ('diffusers', 'wan')
  }
  scores['cinejax'] = sum(rule.ours in names for rule in rules('wan'))
  best = max(scores, key=scores.__getitem__)
  # a few names, such as patch_embedding's, belong to several
  return best if scores[best] > len(rules('wan')) // 2 else None


def to_ours(x: np.ndarray, how: str) -> np.ndarray:
  """Their tensor as our leaf (of one layer)."""
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[0]
  if how == 'patch':
    return einops.rearrange(x, 'd c 1 py px -> (py px c) d')
  return x


def to_theirs(x: np.ndarray, how: str) -> np.ndarray:
  """Our leaf (of one layer) as their tensor."""
  if how == 'transposed':
    return x.T
  if how == 'table':
    return x[None]
  if how == 'patch':
    _, py, px = PATCH
    return einops.rearrange(x, '(py px c) d -> d c 1 py px', py=py, px=px)
  return x


def their_shape(shape: tuple[int, ...], how: str) -> tuple[int, ...]:
  """Of the tensor that our leaf (of one layer) becomes."""
  return to_theirs(np.broadcast_to(np.int8(0), shape), how).shape
