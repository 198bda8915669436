"""How time runs from noise to film; configs/base.py has the meanings."""

import dataclasses

from cinejax.core.config import between, one_of, positive


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
  shift: float = positive()  # s of eq. (3)
  time_per: str = one_of('chunk', 'film')  # what shares one t in training
  copies: int = positive(default=1)
  pure_noise: float = between(0, 1, default=0.0)
  history_noise: float = between(0, 1, default=0.0)
