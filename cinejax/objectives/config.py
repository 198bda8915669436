"""Settings of losses; configs/base.py has the meanings."""

import dataclasses

from cinejax.core.config import multiple_of, non_negative, one_of, positive


@dataclasses.dataclass(frozen=True)
class AlignmentConfig:
  weight: float = non_negative()  # 0 = off
  target: str = one_of('labels', 'features', 'returns')
  layers: tuple[int, ...]  # from 0
  last_update: int = non_negative()  # 0 = of all
  features: int = positive()  # A, of the image encoder


@dataclasses.dataclass(frozen=True)
class InitConfig:
  method: str = one_of('ode', 'cd')
  teacher: str = one_of('causal', 'bidirectional')  # ode
  trajectories: str  # ode: a folder
  grid: int = multiple_of(4, "so that it passes the student's four times")
  guidance: float = non_negative()  # of the teacher
  last_pair: bool  # cd

  def conflict(self, at: str) -> str:
    """Which setting of ode stands beside cd; '' if none does."""
    bidirectional = self.teacher == 'bidirectional'
    if self.method == 'cd' and (bidirectional or self.trajectories):
      return (
        f'{at}.method is cd, whose teacher is the base, without trajectories; '
        f'{at}.teacher and {at}.trajectories are those of ode'
      )
    return ''


@dataclasses.dataclass(frozen=True)
class DmdConfig:
  guidance: float = non_negative()  # w of the real score
  every: int = positive()
  fake_learning_rate: float = positive()  # at its peak
  scores: str = one_of('causal', 'bidirectional')
  real_layers: int = non_negative()  # 0 = the student's, as in what follows
  real_heads: int = non_negative()
  real_head_features: int = non_negative()
  real_mlp_features: int = non_negative()
  gan_weight: float = non_negative()  # lambda of eq. (13)
  gan_layers: tuple[int, ...]
  gan_features: int = positive()
  gan_r1: float = non_negative()
  gan_r2: float = non_negative()
  window: int = positive()  # chunks
  context: int = positive()  # chunks, fewer than window

  def conflict(self, at: str) -> str:
    """Why the window has no chunk to train on; '' if it has one."""
    if self.context >= self.window:
      return (
        f'{at}.context is {self.context}; it must be at least 1 and leave '
        f'something of {at}.window = {self.window}'
      )
    return ''
