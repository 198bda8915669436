"""The device mesh, and how parameters and batches are sharded over it.

The mesh has four axes. `data` and `fsdp` split the batch; `fsdp` and `sequence`
split parameters, their averages and moments; `tensor` splits features of a
layer; `sequence` splits tokens and, within attention, heads. Axes have the type
Auto, so XLA propagates the shardings of pinned inputs and outputs; the default
of jax, Explicit, would make the sharding a part of every array's type.
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
# of rows of frames in a codec; a DiT splits tokens and features over these
ROW_AXES = ('sequence', 'tensor')

_FSDP = ('fsdp', 'sequence')  # a layer's weights are gathered along these

# Layers come in pairs that map into heads or mlp features and back. `tensor`
# splits the features in between, so they need no communication.
_INTO = (
  'query|key|value|mlp_in|mlp_gate|time_in|time_projection|text_in|'
  'patch_embedding|action_embedding|camera_embedding|head'
)
_BACK = '((self|cross)_attention|blocks)/out|(mlp|time|text)_out'

Axes = str | tuple[str, ...] | None  # mesh axes that split one dimension

# (regex of the end of a path, axes of the last dimensions). Each parameter
# matches exactly one row. Earlier dimensions are those of stacked layers.
PARAM_RULES = (
  (f'({_INTO})/kernel', (_FSDP, 'tensor')),
  (f'({_BACK})/kernel', ('tensor', _FSDP)),
  (f'({_INTO}|{_BACK})/(bias|kernel_scale)', ()),
  # in eight bits and transposed, for rollouts
  (f'({_INTO})/kernel_e4m3', ('tensor', _FSDP)),
  (f'({_BACK})/kernel_e4m3', (_FSDP, 'tensor')),
  # adapters are split along their long side
  ('.*/lora_down', ('fsdp', None)),
  ('.*/lora_up', (None, 'fsdp')),
  (
    r'(query|key)_norm/scale|cross_norm/(scale|bias)|(head_)?modulation|'
    r'positions|(attention|mlp|final)_norm/scale|distance|'
    r'route_gate_(bias|slope)',
    (),
  ),
  ('embedding', (None, (*_FSDP, 'tensor'))),  # features of words
  # codecs are small, and splitting convolutions would gain nothing
  (r'(encoder|correction|decoder)/.+|mean_C|std_C', ()),
  (r'(read_\d+|logit)/(kernel|bias)', ()),  # the small head of an adversary
  (r'layer_\d+/\w+/(kernel|bias)', ()),  # small heads of an alignment
  (r'ns_coeffs', ()),  # constants in the optimizer state of Muon
)


def make_mesh(
  cfg: MeshConfig, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """The mesh of `cfg` over `devices` (default: all).

  An axis of size -1 takes the devices that the others leave.

  Raises UserError if the axes do not divide the devices.
  """
  devices = jax.devices() if devices is None else devices
  sizes = [getattr(cfg, axis) for axis in AXES]
  named = ', '.join(
    f'{axis}={size}' for axis, size in zip(AXES, sizes, strict=True)
  )
  if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
    raise UserError(
      f'config.mesh is {named}; each axis must be at least 1, and at most one '
      'may be -1, for all other devices'
    )
  fixed = math.prod(size for size in sizes if size != -1)
  rest, left = divmod(len(devices), fixed)
  if left or (-1 not in sizes and rest != 1):
    raise UserError(
      f'config.mesh is {named}, which does not divide {len(devices)} devices; '
      'set one axis to -1 and the others so that their product is a divisor'
    )
  sizes = [rest if size == -1 else size for size in sizes]
  arranged = _by_host(_arranged(sizes, devices))
  return Mesh(arranged, AXES, (AxisType.Auto,) * len(AXES))


def _arranged(
  sizes: Sequence[int], devices: Sequence[jax.Device]
) -> np.ndarray:
  """Arranges devices so that neighbours in the last axes are physically near.

  TPU slices, which a network connects, split the first axis that their number
  divides, because `data` and `fsdp` communicate least and tolerate the longest
  latency.

  Raises UserError if there is no such axis.
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
    f'config.mesh has no axis that is a multiple of the {slices} slices; make '
    f'config.mesh.data or config.mesh.fsdp a multiple of {slices}'
  )


def _by_host(devices: np.ndarray) -> np.ndarray:
  """Reorders the devices so that the films of each host are contiguous.

  In a torus, neighbours along `fsdp` often belong to several hosts, so that a
  host would otherwise feed films that are scattered over the batch.
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
  """The sharding of a batch's arrays: the first dimension over BATCH_AXES."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def batch_part() -> tuple[int, int]:
  """`part_of` this process on the mesh in use; (0, 1) without a mesh."""
  mesh = jax.sharding.get_mesh()
  if mesh.empty or jax.process_count() == 1:
    return 0, 1
  return part_of(mesh, jax.process_index())


def part_of(mesh: Mesh, process: int) -> tuple[int, int]:
  """(index, count) of the part of a batch that a process feeds.

  Processes whose devices share films, along `sequence` or `tensor`, feed the
  same part.

  Raises UserError if the rows of a process are not one of several equal parts.
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
      f'the devices of process {process} hold the rows {here} of {split}; make '
      'config.mesh.tensor times config.mesh.sequence a divisor or a multiple '
      'of the number of devices of a host'
    )
  return first // size, split // size


def replicated(mesh: Mesh) -> NamedSharding:
  """The sharding of arrays that every device holds entirely."""
  return NamedSharding(mesh, PartitionSpec())


def param_shardings(
  tree: Any,
  mesh: Mesh,
  rules: Sequence[tuple[str, tuple[Axes, ...]]] = PARAM_RULES,
) -> Any:
  """A NamedSharding for each leaf of `tree`, according to `rules`.

  `tree` holds arrays or shapes of parameters, or of anything with the same
  paths, such as averages, moments or a whole training state, since a row
  matches the end of a path. Scalars are replicated.

  Raises ValueError if a path matches no row or several.
  """

  def leaf(path: tuple[Any, ...], x: Any) -> NamedSharding:
    spec = _match(tree_lib.path_name(path), rules) if x.ndim else ()
    return NamedSharding(mesh, _fit(spec, x.shape, mesh.shape))

  return jax.tree_util.tree_map_with_path(leaf, tree)


def with_shardings(tree: Any, shardings: Any, dtypes: Any = None) -> Any:
  """A tree of jax.ShapeDtypeStruct with shardings; nothing is allocated.

  Args:
    tree: arrays or their shapes.
    shardings: one for all leaves, or a tree of them.
    dtypes: a tree of types; None: those of `tree`.
  """
  if isinstance(shardings, jax.sharding.Sharding):
    shardings = jax.tree.map(lambda _: shardings, tree)
  if dtypes is None:
    dtypes = jax.tree.map(lambda x: x.dtype, tree)
  return jax.tree.map(
    lambda x, sharding, dtype: jax.ShapeDtypeStruct(
      x.shape, dtype, sharding=sharding
    ),
    tree,
    shardings,
    dtypes,
  )


def mesh_in_use() -> jax.sharding.AbstractMesh:
  """The mesh of `jax.set_mesh`; outside of it an empty one, of size 1."""
  return jax.sharding.get_abstract_mesh()


def spec(shape: tuple[int, ...], *axes: Axes) -> PartitionSpec:
  """The PartitionSpec that splits the first dimensions of a shape over `axes`.

  Dimensions that their axes in the mesh in use do not divide, and dimensions
  without axes, are not split.
  """
  padded = axes + (None,) * (len(shape) - len(axes))
  return _fit(padded, shape, mesh_in_use().shape)


def constrain(x: jax.Array, *axes: Axes) -> jax.Array:
  """Constrains `x` to be split over `axes` of the mesh in use; see `spec`."""
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
  """Splits the last dimensions over `axes`, except where they do not divide."""
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
