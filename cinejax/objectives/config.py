"""Settings of the ways to a few-step student."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class InitConfig:
  method: str  # ode | cd
  grid: int  # steps of the teacher's solver
  guidance: float  # of the teacher
  last_pair: bool  # cd: also from the last time to 0
