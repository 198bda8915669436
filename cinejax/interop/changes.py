"""Changes that adapters make to the tensors of a DiT.

With W [out, in] of PyTorch, s the strength, alpha and r the scale's two parts:

    LoRA   W + s (alpha / r) B A                                             (1)
    LoHa   W + s (alpha / r) (w1_a w1_b) * (w2_a w2_b)                       (2)
    LoKr   W + s (alpha / r) kron(w1, w2),  w = w_a w_b or whole             (3)
    DoRA   W + s (m (W + D) / |W + D| - W),  D of (1), (2) or (3) with s = 1 (4)
    diff   W + s D                                                           (5)

|.| is the norm of each row if m has one number for each (peft, LyCORIS), or of
each column if m is [1, in] (older LyCORIS). In (3) the factor is 1 if neither w
is factored. (LoRA: Hu et al. 2021. LoHa, LoKr: Yeh et al. 2023, LyCORIS. DoRA:
Liu et al. 2024, eq. 5.)
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from cinejax.core.errors import UserError
from cinejax.interop import names
from cinejax.interop.mapped import Tensor

Index = tuple[slice, ...]


class Change(Protocol):
  """What an adapter adds to a tensor, in the axes of our leaf of one layer."""

  def part(self, whole: Callable[[], np.ndarray], index: Index) -> np.ndarray:
    """A part of what is added, float32; `whole` reads the tensor itself."""
    ...


@dataclasses.dataclass(frozen=True)
class Product:
  """Eq. (1): A [in, r] and B [r, out], scaled."""

  down: np.ndarray
  up: np.ndarray

  def part(self, whole: Callable[[], np.ndarray], index: Index) -> np.ndarray:
    rows, columns = index
    return self.down[rows] @ self.up[:, columns]


@dataclasses.dataclass(frozen=True)
class Whole:
  """Eqs. (2), (3) and (5): what `make` makes, in PyTorch's axes.

  It is made for each part that is read, so that one layer at a time is whole.
  """

  make: Callable[[], np.ndarray]
  how: str  # as in names.Rule
  strength: float

  def part(self, whole: Callable[[], np.ndarray], index: Index) -> np.ndarray:
    change = self.make()
    if self.how == 'patch':
      change = change.reshape(len(change), -1, *names.PATCH)
    elif self.how == 'table':
      change = change.reshape(1, *change.shape[-2:])
    return np.float32(self.strength) * names.to_ours(change, self.how)[index]


@dataclasses.dataclass(frozen=True)
class Decomposed:
  """Eq. (4)."""

  inner: Change
  magnitude: np.ndarray  # m, [1, out] or [in, 1]
  strength: float

  def part(self, whole: Callable[[], np.ndarray], index: Index) -> np.ndarray:
    before = whole()
    after = before + self.inner.part(whole, (slice(None), slice(None)))
    axis = 0 if self.magnitude.shape[0] == 1 else 1
    norm = np.linalg.norm(after, axis=axis, keepdims=True)
    # rows of zeros have no direction
    after = np.divide(after, norm, out=np.zeros_like(after), where=norm > 0)
    change = self.magnitude * after - before
    return np.float32(self.strength) * change[index]


@dataclasses.dataclass(frozen=True)
class ChangedLeaf:
  """A leaf of a DiT with changes of one adapter, a `Tensor`."""

  name: str  # for errors
  leaf: Tensor
  stacked: bool  # whether its first axis is that of layers
  changes: Mapping[int, Change]  # by layer; 0 if not stacked

  @property
  def shape(self) -> tuple[int, ...]:
    return tuple(self.leaf.shape)

  @property
  def dtype(self) -> np.dtype:
    return self.leaf.dtype

  def __getitem__(self, index: Any) -> np.ndarray:
    """`index` is a slice or a tuple of slices.

    Raises UserError if a number becomes too large for the type.
    """
    index = index if isinstance(index, tuple) else (index,)
    index = (*index, *(slice(None),) * (len(self.shape) - len(index)))
    changed = np.array(self.leaf[index])
    parts = changed if self.stacked else changed[None]
    numbers = range(self.shape[0])[index[0]] if self.stacked else [0]
    for part, number in zip(parts, numbers, strict=True):
      if number in self.changes:
        change = self.changes[number]
        sum_ = part.astype(np.float32) + change.part(
          lambda number=number: self._whole(number), index[self.stacked :]
        )
        with np.errstate(over='ignore'):
          part[:] = sum_
        if np.any(np.isfinite(sum_) & ~np.isfinite(part)):
          raise UserError(
            f'{self.name} with an adapter has numbers that are too large for '
            f'{self.dtype}; convert the weights to --dtype=bfloat16 first'
          )
    return changed

  def _whole(self, number: int) -> np.ndarray:
    """The leaf of one layer before the change, float32."""
    if not self.stacked:
      return np.asarray(self.leaf[(slice(None),)], np.float32)
    return np.asarray(self.leaf[(slice(number, number + 1),)][0], np.float32)
