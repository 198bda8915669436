"""Settings of the rollout of a film; configs/base.py explains them."""

import dataclasses

from cinejax.core.config import between, non_negative, one_of, positive

STUDENT_STEPS = (1, 2, 4)  # numbers of steps that few_step takes


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
  def unfused_commit(self) -> str:
    """`commit`, or `separate` in place of `fused`: both make the same film.

    For whoever needs each chunk committed when its call returns.
    """
    return 'separate' if self.commit == 'fused' else self.commit

  def conflict(self, at: str) -> str:
    """Says why the sampler does not take these steps; '' if it does."""
    if self.sampler != 'few_step':
      if self.first_steps:
        return (
          f'{at}.first_steps is {self.first_steps}, which is for few_step; set '
          f'it to 0 with {at}.sampler={self.sampler}'
        )
    elif self.steps not in STUDENT_STEPS:
      return f'{at}.steps is {self.steps}; a few-step sampler takes 1, 2 or 4'
    return ''
