"""Settings of the ways to a few-step student."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class InitConfig:
  method: str  # ode | cd
  teacher: str  # causal | bidirectional (ode)
  trajectories: str  # ode: folder of stored ones; '' = on the fly
  grid: int  # steps of the teacher's solver
  guidance: float  # of the teacher
  last_pair: bool  # cd: also from the last time to 0


@dataclasses.dataclass(frozen=True)
class DmdConfig:
  steps: int  # of the student, 1, 2 or 4
  first_steps: int  # of its film's first chunk; 0 = steps
  guidance: float  # w of the real score
  every: int  # updates of the fake score to one of the student
  fake_learning_rate: float  # at its peak; the stage's is the student's
  scores: str  # causal | bidirectional
  real_layers: int  # sizes of the real score; 0 = the student's
  real_heads: int
  real_head_features: int
  real_mlp_features: int
  gan_weight: float  # lambda of eq. (13); 0 = no adversary
  gan_layers: tuple[int, ...]  # of the fake score, that the head reads
  gan_features: int  # of the head
  gan_r1: float  # penalty on the head's slope at real films
  gan_r2: float  # at the student's
  window: int  # tune: chunks of a film that the scores read
  context: int  # tune: the first of them, history only
