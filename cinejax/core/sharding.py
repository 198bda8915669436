"""Where arrays live: the mesh, the table of parameters, batches.

The mesh has four axes. `data` and `fsdp` split the batch; `fsdp` and `sequence`
split parameters, their averages and moments; `tensor` splits features of a
layer; `sequence` splits tokens and, within attention, heads. Axis types are
Auto on purpose: XLA propagates what the pinned inputs and outputs imply (jax's
default, Explicit, would put the sharding into every type).
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from cinejax.core import tree as tree_lib
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError

AXES = ('data', 'fsdp', 'sequence', 'tensor')
BATCH_AXES = ('data', 'fsdp')
HEAD_AXES = ('tensor', 'sequence')  # of queries, keys, values and banks
# rows of pictures in a codec, over what splits a DiT's tokens and features
ROW_AXES = ('sequence', 'tensor')

_FSDP = ('fsdp', 'sequence')  # what a layer's weights are gathered from

# Layers in pairs, into heads or mlp features and back: `tensor` splits what
# lies between, so that nothing moves there.
_INTO = (
  'query|key|value|mlp_in|mlp_gate|time_in|time_projection|text_in|'
  'patch_embedding|action_embedding|head'
)
_BACK = '((self|cross)_attention|blocks)/out|(mlp|time|text)_out'

Axes = str | tuple[str, ...] | None  # what one dimension is split over

# (regex of a path's end, axes of the last dimensions). Each parameter matches
# exactly one row. Dimensions before those named are stacked layers.
PARAM_RULES = (
  (f'({_INTO})/kernel', (_FSDP, 'tensor')),
  (f'({_BACK})/kernel', ('tensor', _FSDP)),
  (f'({_INTO}|{_BACK})/bias', ()),
  # adapters: the side that is long
  ('.*/lora_down', ('fsdp', None)),
  ('.*/lora_up', (None, 'fsdp')),
  (
    r'(query|key)_norm/scale|cross_norm/(scale|bias)|(head_)?modulation|'
    r'positions|(attention|mlp|final)_norm/scale|distance',
    (),
  ),
  ('embedding', (None, (*_FSDP, 'tensor'))),  # of words, each of them whole
  # codecs are small, and their convolutions would gain nothing
  (r'(encoder|correction|decoder)/.+|mean_C|std_C', ()),
  (r'(read_\d+|logit)/(kernel|bias)', ()),  # the light head of an adversary
  (r'ns_coeffs', ()),  # constants in the state of Muon
)


def make_mesh(
  cfg: MeshConfig, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """The mesh of `cfg` over `devices` (default: all); -1 takes the rest.

  Raises UserError if the axes do not divide the devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [getattr(cfg, axis) for axis in AXES]
  named = ', '.join(
    f'{axis}={size}' for axis, size in zip(AXES, sizes, strict=True)
  )
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(
      f'config.mesh is {named}; an axis takes 1 or more devices, and one of '
      'them at most may be -1, the rest'
    )
  fixed = math.prod(size for size in sizes if size != -1)
  rest, left = divmod(len(devices), fixed)
  if left or (-1 not in sizes and rest != 1):
    raise UserError(
      f'config.mesh is {named}, which does not divide {len(devices)} devices; '
      'let one axis be -1 and the product of the others a divisor'
    )
  sizes = [rest if size == -1 else size for size in sizes]
  arranged = _by_host(_arranged(sizes, devices))
  return Mesh(arranged, AXES, (AxisType.Auto,) * len(AXES))


def _arranged(
  sizes: Sequence[int], devices: Sequence[jax.Device]
) -> np.ndarray:
  """An array of devices whose last axes are the nearest neighbours.

  Slices of TPUs, joined by a network, split the first axis that they divide:
  what `data` and `fsdp` exchange is least and can wait longest.
  """
  slices = len({getattr(device, 'slice_index', 0) for device in devices})
  if slices == 1:
    return mesh_utils.create_device_mesh(
      sizes, devices, allow_split_physical_axes=True
    )
  for axis, size in enumerate(sizes):
    if size % slices == 0:
      outer = [slices if i == axis else 1 for i in range(len(sizes))]
      inner = [n // m for n, m in zip(sizes, outer, strict=True)]
      return mesh_utils.create_hybrid_device_mesh(
        inner, outer, devices, allow_split_physical_axes=True
      )
  raise UserError(
    f'config.mesh has no axis that {slices} slices divide; make config.mesh.'
    'data or config.mesh.fsdp a multiple of them'
  )


def _by_host(devices: np.ndarray) -> np.ndarray:
  """The same with the films of each host side by side, as it feeds them.

  Of a torus, neighbours along `fsdp` are often devices of several hosts, which
  would leave a host with films here and there.
  """

  def hosts(row: np.ndarray) -> list[tuple[int, int]]:
    return sorted(
      {
        (getattr(device, 'slice_index', 0), device.process_index)
        for device in row
      }
    )

  rows = devices.reshape(-1, *devices.shape[len(BATCH_AXES) :])
  order = sorted(range(len(rows)), key=lambda row: hosts(rows[row].flat))
  return rows[order].reshape(devices.shape)


def check_heads(heads: int, mesh: Mesh) -> None:
  """Raises UserError unless HEAD_AXES of the mesh divide config.dit.heads."""
  ways = math.prod(mesh.shape[axis] for axis in HEAD_AXES)
  if heads % ways:
    raise UserError(
      f'config.dit.heads is {heads}; it must be a multiple of the {ways} '
      f'devices along the axes {" and ".join(HEAD_AXES)} of the mesh'
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """First dimension over data and fsdp, for every array of a batch."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_part() -> tuple[int, int]:
  """part_of this process on the mesh in use; all of it without one."""
  mesh = jax.sharding.get_mesh()
  if mesh.empty or jax.process_count() == 1:
    return 0, 1
  return part_of(mesh, jax.process_index())


def part_of(mesh: Mesh, process: int) -> tuple[int, int]:
  """(index, count): which rows of a batch a process feeds, of how many.

  Processes whose devices share a film, along `sequence` or `tensor`, feed the
  same rows. Raises UserError if a process's rows are not one part of equals.
  """
  split = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  here = [
    row
    for row, devices in enumerate(mesh.devices.reshape(split, -1))
    if any(device.process_index == process for device in devices)
  ]
  first, size = here[0], len(here)
  if here != list(range(first, first + size)) or first % size or split % size:
    raise UserError(
      f'process {process} has devices of the rows {here} of {split}; make '
      'config.mesh.tensor times config.mesh.sequence a divisor or a multiple '
      'of the devices of a host'
    )
  return first // size, split // size


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def param_shardings(
  tree: Any,
  mesh: Mesh,
  rules: Sequence[tuple[str, tuple[Axes, ...]]] = PARAM_RULES,
) -> Any:
  """A NamedSharding for each leaf of `tree`, by the table.

  `tree` holds arrays or their shapes: parameters, or anything that holds
  copies of them (averages, moments, a whole training state), since a row
  matches the end of a path. Scalars are replicated.

  Raises ValueError if a path matches no row or several.
  """

  def leaf(path: tuple[Any, ...], x: Any) -> NamedSharding:
    spec = _match(tree_lib.path_name(path), rules) if x.ndim else ()
    return NamedSharding(mesh, _fit(spec, x.shape, mesh.shape))

  return jax.tree_util.tree_map_with_path(leaf, tree)


def mesh_in_use() -> jax.sharding.AbstractMesh:
  """That of `jax.set_mesh`; empty, of size 1, outside of it."""
  return jax.sharding.get_abstract_mesh()


def spec(shape: tuple[int, ...], *axes: Axes) -> PartitionSpec:
  """How the mesh in use splits an array's first dimensions over `axes`.

  A dimension that its axis does not divide stays whole, as do those that no
  axis is named for.
  """
  padded = axes + (None,) * (len(shape) - len(axes))
  return _fit(padded, shape, mesh_in_use().shape)


def constrain(x: jax.Array, *axes: Axes) -> jax.Array:
  """Splits the first dimensions of `x` over `axes` of the mesh in use."""
  if mesh_in_use().size <= 1:
    return x
  return jax.lax.with_sharding_constraint(x, spec(x.shape, *axes))


def _match(
  path: str, rules: Sequence[tuple[str, tuple[Axes, ...]]]
) -> tuple[Axes, ...]:
  found = [
    (pattern, spec)
    for pattern, spec in rules
    if re.fullmatch(f'(.*/)?({pattern})', path)
  ]
  if len(found) != 1:
    rows = ', '.join(pattern for pattern, _ in found) or 'none'
    raise ValueError(f'{path} must match one row of PARAM_RULES, not: {rows}')
  return found[0][1]


def _fit(
  axes: Sequence[Axes],
  shape: tuple[int, ...],
  sizes: Mapping[str, int],
) -> PartitionSpec:
  """`axes` on the last dimensions, None where one does not divide."""
  if len(axes) > len(shape):
    raise ValueError(f'{axes} names more dimensions than {shape} has')
  axes = (None,) * (len(shape) - len(axes)) + tuple(axes)

  def fits(axis: Axes, length: int) -> bool:
    names = (axis,) if isinstance(axis, str) else axis or ()
    return length % math.prod(sizes[name] for name in names) == 0

  return PartitionSpec(
    *(
      axis if fits(axis, length) else None
      for axis, length in zip(axes, shape, strict=True)
    )
  )
