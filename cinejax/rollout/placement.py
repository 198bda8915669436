"""How the state of a rollout is split over a mesh.

Films are split over `data` and `fsdp`, and the heads of a bank over `tensor`
and `sequence`, which is how attention reads them (models/attention.py).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from cinejax.core import sharding
from cinejax.core.config import MeshConfig
from cinejax.rollout import host_leaves

_BATCH, _HEADS = sharding.BATCH_AXES, sharding.HEAD_AXES

# (regex of a path's end, axes of the last dimensions), as PARAM_RULES
STATE_RULES = (
  ('(memory|archive)/(key|value)/data', (_BATCH, None, None, _HEADS, None)),
  ('(memory|archive)/(key|value)/scale', (_BATCH, None, None, _HEADS)),
  ('(memory|archive)/(key|value)/channel_scale', (_BATCH, None, _HEADS, None)),
  ('memory/descriptor', (_BATCH, None, _HEADS, None)),
  ('(use|frame|shot|valid|count)_BE', (_BATCH, None)),
  ('(start|shot|key)_B', (_BATCH,)),
  ('latents_BFYXC', (_BATCH, None, None, None, None)),
  ('latents_BNFYXC', (_BATCH, None, None, None, None, None)),
  ('text_BWD', (_BATCH, None, None)),
  ('text_BNWD', (_BATCH, None, None, None)),
)


def state_shardings(state: Any, mesh: Mesh) -> Any:
  """The sharding of each leaf of a RolloutState, or of its shapes."""
  places = sharding.param_shardings(state, mesh, STATE_RULES)
  return host_leaves.map_archived(
    lambda place: place.with_memory_kind('pinned_host'), places
  )


def pinned(state: Any) -> Any:
  """`state` with these shardings on the mesh in use.

  They are those of the argument, so that donation reuses its buffers.
  """
  mesh = sharding.mesh_in_use()
  if mesh.size <= 1:
    return state
  places = state_shardings(state, mesh)
  return jax.lax.with_sharding_constraint(state, places)


@dataclasses.dataclass(frozen=True)
class OnMesh:
  """A jitted function that is traced and called with `mesh` in use."""

  fn: Callable[..., Any]
  mesh: Mesh

  def __call__(self, *args: Any, **static: Any) -> Any:
    with jax.set_mesh(self.mesh):
      return self.fn(*args, **static)

  def lower(self, *args: Any) -> jax.stages.Lowered:
    with jax.set_mesh(self.mesh):
      return self.fn.lower(*args)


def rollout_mesh(axes: MeshConfig, heads: int) -> Mesh | None:
  """The mesh of the devices that share each pass of a rollout.

  It has the axes `sequence` and `tensor` of `axes` alone: few films are made
  at a time, so that `data` and `fsdp` would not help. None: one device runs the
  whole pass. Raises UserError if these axes do not divide `heads`.
  """
  ways = axes.sequence * axes.tensor
  if ways == 1:
    return None
  alone = MeshConfig(1, 1, axes.sequence, axes.tensor)
  mesh = sharding.make_mesh(alone, jax.devices()[: max(ways, 1)])
  sharding.check_heads(heads, mesh)
  return mesh
