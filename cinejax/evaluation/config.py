"""Which films evaluation makes, and how it measures them.

configs/base.py describes the fields.
"""

import dataclasses

from cinejax.core.config import non_negative, one_of, positive
from cinejax.story.config import EVALUATION_KINDS


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  """Section `eval` of a config."""

  seed: int = non_negative()
  films: int = positive()
  kind: str = one_of(*EVALUATION_KINDS)
  batch: int = positive()
  cuts: str  # content | transnetv2:FILE
  window_frames: int = positive()
  matching: str = one_of('greedy', 'optimal')
  penalty_frames: float = non_negative()
  features: tuple[str, ...]  # each NAME or NAME:FOLDER
