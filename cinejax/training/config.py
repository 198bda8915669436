"""How networks are trained, stage by stage; meanings: configs/base.py."""

import dataclasses
from typing import Any

from cinejax.core.config import (
  FLOATS,
  between,
  non_negative,
  one_of,
  positive,
  share,
)


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  stages: tuple[str, ...]
  log_every_steps: int = positive()
  save_every_steps: int = positive()
  probe_every_steps: int = non_negative()
  sample_every_steps: int = non_negative()  # 0 = never
  keep_checkpoints: int = positive()
  keep_best: int = non_negative()
  weights_dtype: str = one_of(*FLOATS)
  wandb_project: str  # '' = none
  codec_weights: str  # '' = none, as in what follows
  base_weights: str
  base_bidirectional_weights: str
  init_weights: str
  dmd_weights: str
  real_weights: str  # of dmd's real score; '' = the base's


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  rank: int = non_negative()  # 0 = whole networks
  alpha: float = positive()
  targets: str  # regex of layers


# (name, updates, ((key, value) ...)): what differs from the config meanwhile. A
# key is a key of config; `stage.KEY` is a key of the phase's own stage.
Phase = tuple[str, int, tuple[tuple[str, Any], ...]]


@dataclasses.dataclass(frozen=True)
class StageConfig:
  steps: int = positive()  # updates; with phases, theirs count instead
  batch: int = positive()  # examples an update, over all devices
  accumulate: int = positive()
  optimizer: str = one_of('adamw', 'muon')
  learning_rate: float = positive()  # at its peak
  warmup_steps: int = non_negative()
  schedule: str = one_of('constant', 'cosine')
  beta1: float = share()
  beta2: float = share()
  moments_dtype: str = one_of(*FLOATS)
  weight_decay: float = non_negative()  # of matrices only
  clip_norm: float = positive()  # global gradient norm
  spike_norm: float = non_negative()  # 0 = any
  on_spike: str = one_of('stop', 'skip')
  ema: float = share()
  ema_warmup: bool
  final_share: float = between(0, 1)
  phases: tuple[Phase, ...]  # () = one, of `steps` updates
  phase_steps: tuple[int, ...]  # of each phase; () = as they say
  lora: LoraConfig

  @property
  def adam_peak(self) -> float:
    """The peak rate of weights that muon leaves to AdamW."""
    return self.learning_rate

  @property
  def phase_rows(self) -> tuple[Phase, ...]:
    """The phases with their updates, without those that have none."""
    steps = self.phase_steps or [steps for _, steps, _ in self.phases]
    return tuple(
      (name, count, changes)
      for (name, _, changes), count in zip(self.phases, steps, strict=True)
      if count
    )

  def of_phases(self) -> tuple['StageConfig', ...]:
    """Returns the settings of each phase; its own for a stage without any."""
    if not self.phases:
      return (self,)
    settings = []
    for _, steps, changes in self.phase_rows:
      own = {
        key.removeprefix('stage.'): value
        for key, value in changes
        if key.startswith('stage.')
      }
      settings.append(dataclasses.replace(self, steps=steps, phases=(), **own))
    return tuple(settings)

  def conflict(self, at: str) -> str:
    """Why a batch has no equal parts, or phases no updates; '' if they do."""
    if self.phase_steps and (
      len(self.phase_steps) != len(self.phases)
      or min(self.phase_steps) < 0
      or not any(self.phase_steps)
    ):
      return (
        f'{at}.phase_steps is {self.phase_steps}; it must hold the updates of '
        f'each of the {len(self.phases)} phases, not all of them 0'
      )
    if self.batch % self.accumulate:
      return (
        f'{at}.accumulate is {self.accumulate}; it must divide the batch of '
        f'{self.batch}'
      )
    return ''


@dataclasses.dataclass(frozen=True)
class CodecStageConfig(StageConfig):
  """The stage that trains a codec."""

  adam_learning_rate: float = non_negative()  # 0 = learning_rate

  @property
  def adam_peak(self) -> float:
    return self.adam_learning_rate or self.learning_rate


@dataclasses.dataclass(frozen=True)
class BaseStageConfig(StageConfig):
  """Of a stage whose network is sampled with guidance."""

  drop_text: float = share()  # films trained with the negative prompt


@dataclasses.dataclass(frozen=True)
class Stages:
  codec: CodecStageConfig
  base: BaseStageConfig
  base_bidirectional: BaseStageConfig
  init: StageConfig
  dmd: StageConfig
  tune: StageConfig
