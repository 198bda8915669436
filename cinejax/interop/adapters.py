"""Adapters for Wan: LoRA, LoHa, LoKr, DoRA and differences, merged when read.

interop/adapter_names.py has the names of their tensors, interop/changes.py the
equations and interop/deltas.py the rules of alpha and rank. Adapters are merged
in the order in which they are given.

Files are written with alpha = r and without metadata: diffusers would need a
whole LoraConfig there.
"""

import os
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.interop import adapter_names, names
from cinejax.interop.archive import Archive, open_archive
from cinejax.interop.changes import Change, ChangedLeaf
from cinejax.interop.deltas import Delta, deltas
from cinejax.interop.mapped import Tensor
from cinejax.models import lora

_NAMED = 5  # names of what was not applied that are printed


def parse(text: str) -> tuple[str, float]:
  """The file and the strength of `FILE` or `FILE:STRENGTH`, as in --lora.

  Raises UserError if the strength is no number.
  """
  path, colon, strength = text.rpartition(':')
  if not colon or os.path.exists(text):
    return text, 1.0
  try:
    number = float(strength)
  except ValueError:
    number = None
  if number is None or not np.isfinite(number):
    if os.path.exists(path):
      raise UserError(
        f'--lora={text}: {strength} is no strength; give a number, as in '
        f'{path}:0.8'
      )
    return text, 1.0
  return path, number


def with_adapter(
  leaves: Mapping[str, Tensor],
  path: str | os.PathLike,
  strength: float = 1.0,
) -> dict[str, Tensor]:
  """The leaves of a DiT, by path, with an adapter merged when they are read.

  Tensors of the file that change nothing in a DiT of Wan 2.1 are counted and
  named on standard error. Raises UserError if the file has no adapter, or that
  of another network; the leaves raise it if the sum is beyond their type.
  """
  archive = open_archive(path)
  layers, skipped = _layers(archive)
  changes: dict[str, dict[int, Change]] = {}
  for layer, parts in layers.items():
    for kind, delta in deltas(archive, layer, parts).items():
      if (found := adapter_names.target(layer, kind)) is None:
        skipped.append(f'{layer} ({kind})')
        continue
      rule, number = found
      _check(archive.path, rule, number, delta, leaves[rule.ours])
      leaf = changes.setdefault(rule.ours, {})
      if number in leaf:
        raise UserError(
          f'{archive.path} changes {layer} under two names; save one adapter '
          'alone'
        )
      leaf[number] = delta.change(rule.how, strength)
  _say_skipped(archive.path, skipped, sum(map(len, changes.values())))
  merged = dict(leaves)
  for name, change in changes.items():
    stacked = name.startswith('blocks/')
    merged[name] = ChangedLeaf(name, leaves[name], stacked, change)
  return merged


def save_adapter(path: str | os.PathLike, adapter: Any, scale: float) -> None:
  """Writes a tree of models/lora.py as a LoRA file for diffusers.

  `scale`, which is alpha / r, is multiplied into B.
  """
  flat, tensors = tree_lib.paths(adapter), {}
  theirs = {rule.ours: rule.theirs for rule in names.rules('diffusers')}
  for name, x in flat.items():
    layer, _, kind = name.rpartition('/')
    module = theirs[f'{layer}/kernel'].removesuffix('.weight')
    part, weight = ('lora_A', 1) if kind == lora.DOWN else ('lora_B', scale)
    matrices = np.asarray(x) if '{}' in module else np.asarray(x)[None]
    for number, matrix in enumerate(matrices):
      key = f'transformer.{module.format(number)}.{part}.weight'
      tensors[key] = np.ascontiguousarray(weight * matrix.T)
  with atomic_path(path) as partial:
    save_file(tensors, partial, {'format': 'pt'})


def _layers(
  archive: Archive,
) -> tuple[dict[str, dict[str, Tensor]], list[str]]:
  """The parts of each layer, by name, and names that are no parts."""
  layers: dict[str, dict[str, Tensor]] = {}
  alien = []
  for name, tensor in archive.tensors.items():
    found = adapter_names.split(name)
    if found is None:
      alien.append(name)
    else:
      layer, part = found
      parts = layers.setdefault(layer, {})
      if part in parts:
        raise UserError(
          f'{archive.path} holds several adapters: {name} is one of two '
          f'tensors {part} of {layer}; save one adapter alone'
        )
      parts[part] = tensor
  if not layers:
    what = ', '.join(sorted(alien)[:_NAMED]) or 'no tensor'
    raise UserError(
      f'{archive.path} is no LoRA of two matrices a layer, nor another '
      f'adapter: it holds {what}; give an adapter for Wan 2.1, or a whole '
      'network with --weights'
    )
  return layers, alien


def _check(
  path: pathlib.Path, rule: names.Rule, number: int, delta: Delta, leaf: Tensor
) -> None:
  """Raises UserError if the network has no such layer, or of another size."""
  layers = leaf.shape[0] if rule.stacked else 1
  theirs = names.their_shape(tuple(leaf.shape)[rule.stacked :], rule.how)
  if number >= layers or not delta.fits(theirs):
    size = 'x'.join(map(str, delta.size[::-1]))
    raise UserError(
      f'{path} changes layer {number} of {rule.ours} by a matrix of {size}, '
      f'and the network has {leaf.shape}; use the network that it was made for'
    )


def _say_skipped(
  path: pathlib.Path, skipped: Sequence[str], applied: int
) -> None:
  """Names what a file has beside what was applied, on standard error."""
  if not skipped:
    return
  named = ', '.join(sorted(skipped)[:_NAMED])
  if len(skipped) > _NAMED:
    named += f' and {len(skipped) - _NAMED} more'
  if not applied:
    raise UserError(
      f'{path} changes {named}, and no DiT of Wan 2.1 has such a layer; give a '
      'LoRA file for Wan 2.1'
    )
  if jax.process_index() == 0:
    print(
      f'{path}: {len(skipped)} of {len(skipped) + applied} changes are not '
      f'applied, because no DiT of Wan 2.1 has their layers: {named}',
      file=sys.stderr,
    )
