"""Settings of the training data; configs/base.py explains them."""

import dataclasses

from cinejax.core.config import non_negative, positive


@dataclasses.dataclass(frozen=True)
class DataConfig:
  films: str  # folder of a data set
  chunks: int = positive()  # N of a training batch
  workers: int = non_negative()  # processes that cast story films; 0: threads
