"""Views of a DiT's tensors in another layout; data are read when indexed.

A view is itself a `Tensor` (interop/mapped.py), so that views compose: Wan's
files can be read as cinejax's leaves, and these as diffusers' tensors.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop import foreign, names
from cinejax.interop.mapped import Tensor

_NAMED_FAULTS = 4  # of each kind


@dataclasses.dataclass(frozen=True)
class LeafView:
  """A leaf of our DiT, over tensors of another layout."""

  parts: tuple[Tensor, ...]  # one, or one for each layer
  how: str  # as in names.Rule
  stacked: bool

  @property
  def shape(self) -> tuple[int, ...]:
    theirs = np.broadcast_to(np.int8(0), self.parts[0].shape)
    one = names.to_ours(theirs, self.how).shape
    return (len(self.parts), *one) if self.stacked else one

  @property
  def dtype(self) -> np.dtype:
    # numpy alone knows no common type of bfloat16 and float16
    return functools.reduce(jnp.promote_types, [x.dtype for x in self.parts])

  def __getitem__(self, index: Any) -> np.ndarray:
    """`index` is a slice or a tuple of slices."""
    index = index if isinstance(index, tuple) else (index,)
    if not self.stacked:
      return self._one(self.parts[0], index)
    layers = self.parts[index[0]] if index else self.parts
    arrays = [self._one(part, index[1:]) for part in layers]
    return np.stack([x.astype(self.dtype, copy=False) for x in arrays])

  def _one(self, part: Tensor, index: tuple[slice, ...]) -> np.ndarray:
    if self.how == 'patch':
      return names.to_ours(part[:], self.how)[index]
    if self.how == 'transposed':
      index = (*index, *(slice(None),) * (2 - len(index)))[::-1]
    if self.how == 'table':
      index = (slice(None), *index)
    return names.to_ours(part[index], self.how)


@dataclasses.dataclass(frozen=True)
class LayoutView:
  """A tensor of another layout, over a leaf of our DiT."""

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


def to_leaves(
  tensors: Mapping[str, Tensor],
  layout: str,
  shapes: Mapping[str, tuple[int, ...]],
) -> dict[str, Tensor]:
  """Views tensors in `layout` as the leaves of our DiT, by path.

  `shapes` are those of our leaves. Raises UserError, which names a few
  missing, extra and misshapen tensors.
  """
  wanted = dict(shapes)
  if layout != 'cinejax':
    wanted = layout_shapes(shapes, layout)
  try:
    check(tensors, wanted)
  except UserError as error:
    if what := foreign.describe(tensors):
      raise UserError(what) from error
    raise
  if layout == 'cinejax':
    return dict(tensors)
  layers = _layers(shapes)
  return {
    rule.ours: LeafView(
      tuple(
        tensors[rule.theirs.format(layer)]
        for layer in range(layers if rule.stacked else 1)
      ),
      rule.how,
      rule.stacked,
    )
    for rule in names.rules(layout)
  }


def from_leaves(leaves: Mapping[str, Tensor], layout: str) -> dict[str, Tensor]:
  """Views the leaves of our DiT as tensors in `layout`, by name.

  Raises UserError if a leaf has no counterpart in `layout`.
  """
  if layout == 'cinejax':
    return dict(leaves)
  alien = sorted(leaves.keys() - {rule.ours for rule in names.rules(layout)})
  if alien:
    raise UserError(
      f'{", ".join(alien)} has no place in the layout {layout}; only models '
      "with Wan 2.1's parameters can be written in it"
    )
  layers = leaves['blocks/modulation'].shape[0]
  found = {}
  for layer in (None, *range(layers)):
    for rule in names.rules(layout):
      if rule.stacked == (layer is not None):
        name = rule.theirs.format(layer)
        found[name] = LayoutView(leaves[rule.ours], rule.how, layer)
  return found


def layout_shapes(
  shapes: Mapping[str, tuple[int, ...]], layout: str
) -> dict[str, tuple[int, ...]]:
  """The shapes of tensors in `layout`, by name; `shapes` are those of leaves.

  A leaf without a counterpart, such as `positions`, keeps its name.
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
  """Raises UserError unless tensors have `shapes`, with a few of the faults."""
  if tensors and shapes and not tensors.keys() & shapes.keys():
    raise UserError(
      f'it is another network: it has {min(tensors)} and {len(tensors) - 1} '
      f'more tensors, but neither {min(shapes)} nor any other that is needed; '
      'give the file of the network that this config describes'
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
  lists = [f'{fault}: {_few(of)}' for fault, of in faults.items() if of]
  if lists:
    raise UserError(
      'the tensors do not fit this config; use the config of the model that '
      f'they are of; {"; ".join(lists)}'
    )


def _few(names: Sequence[str]) -> str:
  """The first names, and how many more there are."""
  more = len(names) - _NAMED_FAULTS
  rest = [f'and {more} more'] if more > 0 else []
  return ', '.join([*names[:_NAMED_FAULTS], *rest])


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> int:
  return shapes['blocks/modulation'][0]
