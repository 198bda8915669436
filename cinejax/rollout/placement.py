"""Where the state of a film in the making lies on a mesh.

Films are split over `data` and `fsdp`, the heads of a bank over `tensor` and
`sequence`, as attention reads them (models/attention.py).
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import Mesh

from cinejax.core import sharding
from cinejax.core.config import MeshConfig

_BATCH, _HEADS = sharding.BATCH_AXES, sharding.HEAD_AXES

# (regex of a path's end, axes of the last dimensions), as PARAM_RULES
STATE_RULES = (
  ('memory/(key|value)/data', (_BATCH, None, None, _HEADS, None)),
  ('memory/(key|value)/scale', (_BATCH, None, None, _HEADS)),
  ('memory/descriptor', (_BATCH, None, _HEADS, None)),
  ('(use|frame|shot|valid)_BE', (_BATCH, None)),
  ('(start|shot|key)_B', (_BATCH,)),
  ('latents_BFYXC', (_BATCH, None, None, None, None)),
  ('latents_BNFYXC', (_BATCH, None, None, None, None, None)),
  ('text_BWD', (_BATCH, None, None)),
  ('text_BNWD', (_BATCH, None, None, None)),
)


def state_shardings(state: Any, mesh: Mesh) -> Any:
  """A sharding for each leaf of a RolloutState, or of its shapes."""
  return sharding.param_shardings(state, mesh, STATE_RULES)


def pinned(state: Any) -> Any:
  """`state` laid out so on the mesh in use: donated, it stays where it is."""
  mesh = sharding.mesh_in_use()
  if mesh.size <= 1:
    return state
  places = state_shardings(state, mesh)
  return jax.lax.with_sharding_constraint(state, places)


@dataclasses.dataclass(frozen=True)
class OnMesh:
  """A jitted function, traced and called within a mesh."""

  fn: Callable[..., Any]
  mesh: Mesh

  def __call__(self, *args: Any, **static: Any) -> Any:
    with jax.set_mesh(self.mesh):
      return self.fn(*args, **static)

  def lower(self, *args: Any) -> jax.stages.Lowered:
    with jax.set_mesh(self.mesh):
      return self.fn.lower(*args)


def rollout_mesh(axes: MeshConfig, heads: int) -> Mesh | None:
  """The devices that share each pass of a rollout; None: one does it all.

  Films in the making are few, so `data` and `fsdp` have no part in it. Raises
  UserError where `heads` cannot be divided so.
  """
  ways = axes.sequence * axes.tensor
  if ways == 1:
    return None
  alone = MeshConfig(1, 1, axes.sequence, axes.tensor)
  mesh = sharding.make_mesh(alone, jax.devices()[: max(ways, 1)])
  sharding.check_heads(heads, mesh)
  return mesh
