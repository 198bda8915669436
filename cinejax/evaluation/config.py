"""What is measured, on which films."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  seed: int  # apart from training's
  films: int
  kind: str  # eval | long | strict
  batch: int  # films rolled out together
