"""Where the state of a film in the making lies on a mesh.

Films are split over `data` and `fsdp`, the heads of a bank over `tensor` and
`sequence`, as attention reads them (models/attention.py).
"""

from typing import Any

from jax.sharding import Mesh

from cinejax.core import sharding

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
