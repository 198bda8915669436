"""How a film is generated; configs/base.py has the meanings."""

import dataclasses

from cinejax.core.config import between, non_negative, one_of, positive

STUDENT_STEPS = (1, 2, 4)  # of a chunk, that few_step knows


@dataclasses.dataclass(frozen=True)
class RolloutConfig:
  weights: str
  sampler: str = one_of('euler', 'unipc', 'few_step')
  steps: int = between(1, 100)  # J; few_step: one of STUDENT_STEPS
  first_steps: int = one_of(0, *STUDENT_STEPS)  # few_step; 0 = steps
  guidance: float = non_negative()  # w of u + w (c - u)
  negative_prompt: str
  commit: str = one_of('separate', 'fused', 'reuse')
  chunks_per_call: int = positive()

  @property
  def commit_alone(self) -> str:
    """What makes the films of `commit` and keeps no chunk waiting for it."""
    return 'separate' if self.commit == 'fused' else self.commit

  def conflict(self, at: str) -> str:
    """Why sampler and steps do not go together; '' if they do."""
    if self.sampler != 'few_step':
      if self.first_steps:
        return (
          f'{at}.first_steps is {self.first_steps}, which is for few_step; set '
          f'it to 0 with {at}.sampler={self.sampler}'
        )
    elif self.steps not in STUDENT_STEPS:
      return f'{at}.steps is {self.steps}; a few-step sampler takes 1, 2 or 4'
    return ''
