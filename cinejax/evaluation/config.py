"""What is measured, on which films."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class EvalConfig:
  seed: int  # apart from training's
  films: int
  kind: str  # one of story.config.EVALUATION_KINDS
  batch: int  # films rolled out together
  cuts: str  # content | transnetv2:FILE, the detector
  window_frames: int  # before a return in which she is not seen
  matching: str  # greedy | optimal, of cuts found to cuts asked for
  penalty_frames: float  # of a missed or extra cut; 0 = mean shot length
  features: tuple[str, ...]  # of frames, each NAME or NAME:FOLDER
