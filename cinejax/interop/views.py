"""A DiT in one layout, seen in another: nothing is read until it is asked for.

Views are tensors themselves (interop/mapped.py), so that one may be seen
through another: Wan's files through our names in the names of diffusers.
"""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop import names
from cinejax.interop.mapped import Tensor

# Wan's names and diffusers' for what only its image-to-video networks have.
_OF_IMAGES = re.compile(
  r'(^|\.)(img_emb|k_img|v_img|image_embedder|add_[kv]_proj)\.'
)


@dataclasses.dataclass(frozen=True)
class Ours:
  """A leaf of ours over their tensors, one or one for each layer."""

  parts: tuple[Tensor, ...]
  how: str  # as in names.Rule
  stacked: bool

  @property
  def shape(self) -> tuple[int, ...]:
    theirs = np.broadcast_to(np.int8(0), self.parts[0].shape)
    one = names.to_ours(theirs, self.how).shape
    return (len(self.parts), *one) if self.stacked else one

  @property
  def dtype(self) -> np.dtype:
    return np.result_type(*{part.dtype for part in self.parts})

  def __getitem__(self, index: Any) -> np.ndarray:
    """`index` is a slice or a tuple of slices."""
    index = index if isinstance(index, tuple) else (index,)
    if not self.stacked:
      return self._one(self.parts[0], index)
    layers = self.parts[index[0]] if index else self.parts
    made = [self._one(part, index[1:]) for part in layers]
    return np.stack(made).astype(self.dtype, copy=False)

  def _one(self, part: Tensor, index: tuple[slice, ...]) -> np.ndarray:
    if self.how == 'patch':
      return names.to_ours(part[:], self.how)[index]
    if self.how == 'transposed':
      index = (*index, *(slice(None),) * (2 - len(index)))[::-1]
    if self.how == 'table':
      index = (slice(None), *index)
    return names.to_ours(part[index], self.how)


@dataclasses.dataclass(frozen=True)
class Theirs:
  """A tensor of theirs over a leaf of ours."""

  leaf: Tensor
  how: str  # as in names.Rule
  layer: int | None  # None: the leaf is not stacked

  @property
  def shape(self) -> tuple[int, ...]:
    stacked = self.layer is not None
    return names.their_shape(self.leaf.shape[stacked:], self.how)

  @property
  def dtype(self) -> np.dtype:
    return self.leaf.dtype

  def __getitem__(self, index: Any) -> np.ndarray:
    """`index` is a slice or a tuple of slices."""
    index = index if isinstance(index, tuple) else (index,)
    if self.how == 'same':
      return self._leaf(index)
    if self.how == 'transposed':
      index = (*index, *(slice(None),) * (2 - len(index)))
      return self._leaf(index[::-1]).T
    return names.to_theirs(self._leaf(()), self.how)[index]

  def _leaf(self, index: tuple[slice, ...]) -> np.ndarray:
    if self.layer is None:
      return self.leaf[index]
    return self.leaf[(slice(self.layer, self.layer + 1), *index)][0]


def as_ours(
  tensors: Mapping[str, Tensor],
  layout: str,
  shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Tensor]:
  """The leaves of our DiT, by path, over tensors in `layout`.

  `shapes` are those of our leaves. Raises UserError that lists every missing,
  extra and misshapen tensor.
  """
  seeing = [name for name in tensors if _OF_IMAGES.search(name)]
  if seeing:
    raise UserError(
      f'it is an image-to-video network, which reads pictures by {seeing[0]}; '
      'take the text-to-video one, whose films begin with what --image names'
    )
  wanted = dict(shapes)
  if layout != 'cinejax':
    wanted = their_shapes(shapes, layout)
  check(tensors, wanted)
  if layout == 'cinejax':
    return dict(tensors)
  layers = _layers(shapes)
  return {
    rule.ours: Ours(
      tuple(
        tensors[rule.theirs.format(layer)]
        for layer in range(layers if rule.stacked else 1)
      ),
      rule.how,
      rule.stacked,
    )
    for rule in names.rules(layout)
  }


def as_theirs(leaves: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
  """What our DiT's leaves are in `layout`, layer after layer."""
  if layout == 'cinejax':
    return dict(leaves)
  alien = sorted(leaves.keys() - {rule.ours for rule in names.rules(layout)})
  if alien:
    raise UserError(
      f'{", ".join(alien)} has no place in the layout {layout}; only models '
      'of the shape of Wan 2.1 can be written so'
    )
  layers = leaves['blocks/modulation'].shape[0]
  found = {}
  for layer in (None, *range(layers)):
    for rule in names.rules(layout):
      if rule.stacked == (layer is not None):
        name = rule.theirs.format(layer)
        found[name] = Theirs(leaves[rule.ours], rule.how, layer)
  return found


def their_shapes(
  shapes: Mapping[str, tuple[int, ...]], layout: str
) -> dict[str, tuple[int, ...]]:
  """By name in `layout`, of a DiT whose leaves have `shapes`.

  A leaf that only we know (`positions`) keeps its name.
  """
  found = dict(shapes)
  for rule in names.rules(layout):
    shape = found.pop(rule.ours)[rule.stacked :]
    for layer in range(_layers(shapes) if rule.stacked else 1):
      found[rule.theirs.format(layer)] = names.their_shape(shape, rule.how)
  return found


def check(
  tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]
) -> None:
  """Raises UserError with every fault, unless tensors are of these shapes."""
  if tensors and shapes and not tensors.keys() & shapes.keys():
    raise UserError(
      f'it is another network: it has {min(tensors)} and {len(tensors) - 1} '
      f'more tensors, but not {min(shapes)} nor any other that is wanted; give '
      'the file of the network that is asked for'
    )
  faults = {
    'missing': sorted(shapes.keys() - tensors.keys()),
    'extra': sorted(tensors.keys() - shapes.keys()),
    'misshapen': [
      f'{name} is {tuple(tensors[name].shape)}, not {tuple(shape)}'
      for name, shape in sorted(shapes.items())
      if name in tensors and tuple(tensors[name].shape) != tuple(shape)
    ],
  }
  told = [f'{fault}: {", ".join(of)}' for fault, of in faults.items() if of]
  if told:  # what to do first: there may be a thousand names
    raise UserError(
      'the tensors do not fit this config; take that of the model that they '
      f'come from; {"; ".join(told)}'
    )


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> int:
  return shapes['blocks/modulation'][0]
