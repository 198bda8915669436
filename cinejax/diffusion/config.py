"""How time runs from noise to film."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
  shift: float  # s of eq. (3)
  time_per: str  # chunk | film: what shares one t in training
