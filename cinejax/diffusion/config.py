"""How time runs from noise to film."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
  shift: float  # s of eq. (3)
  time_per: str  # chunk | film: what shares one t in training
  copies: int = (
    1  # noisy copies of a film that read one clean copy, in training
  )
  pure_noise: float = 0.0  # share of times in training that are 1
  history_noise: float = 0.0  # the most noise on the clean copy, in training
