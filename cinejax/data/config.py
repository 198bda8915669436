"""Where training films come from; configs/base.py says what each key means."""

import dataclasses

from cinejax.core.config import non_negative, positive


@dataclasses.dataclass(frozen=True)
class DataConfig:
  films: str
  chunks: int = positive()  # N of a training batch
  workers: int = non_negative()
