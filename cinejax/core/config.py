"""The device mesh's shape."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class MeshConfig:
  """Devices along each axis; -1, at most once, takes the rest."""

  data: int
  fsdp: int
  sequence: int
  tensor: int
