"""How a film is generated."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
  weights: str  # its network, a file's stem in a folder of weights
  sampler: str  # euler | unipc | few_step
  steps: int  # J
  first_steps: int  # few_step: of a film's first chunk; 0 = steps
  guidance: float  # w of u + w (c - u); 1 = no negative branch
  negative_prompt: str
  commit: str  # separate | fused | reuse
  chunks_per_call: int  # of one compiled scan

  @property
  def commit_alone(self) -> str:
    """What makes the films of `commit` and keeps no chunk waiting for it."""
    return 'separate' if self.commit == 'fused' else self.commit
