"""Settings of training; configs/base.py explains the keys."""

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
  codec_weights: str  # '' = none, as for the following keys
  base_weights: str
  base_bidirectional_weights: str
  init_weights: str
  dmd_weights: str
  real_weights: str  # of the real score of dmd; '' = the base
  teller_weights: str  # '' = none; see objectives/retelling.py


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  rank: int = non_negative()  # 0 = whole networks
  alpha: float = positive()
  targets: str  # regex of layers


# (name, updates, ((key, value) ...)): the keys of config that have other values
# in a phase; `stage.KEY` is a key of the settings of the phase's own stage.
PhaseRow = tuple[str, int, tuple[tuple[str, Any], ...]]


@dataclasses.dataclass(frozen=True)
class StageConfig:
  steps: int = positive()  # updates; ignored if there are phases
  batch: int = positive()  # examples of an update, over all devices
  accumulate: int = positive()
  optimizer: str = one_of('adamw', 'muon')
  learning_rate: float = positive()  # the peak
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
  phases: tuple[PhaseRow, ...]  # () = one, of `steps` updates
  phase_steps: tuple[int, ...]  # of each phase; () = those in `phases`
  lora: LoraConfig

  @property
  def adam_peak(self) -> float:
    """The peak learning rate of the weights that Muon leaves to AdamW."""
    return self.learning_rate

  @property
  def phase_rows(self) -> tuple[PhaseRow, ...]:
    """The phases that have updates, with their number of updates."""
    steps = self.phase_steps or [steps for _, steps, _ in self.phases]
    return tuple(
      (name, count, changes)
      for (name, _, changes), count in zip(self.phases, steps, strict=True)
      if count
    )

  def by_phase(self) -> tuple['StageConfig', ...]:
    """The settings of each phase; those of the stage if it has no phases."""
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
    """One sentence about values that contradict each other; '' if none do.

    Args:
      at: the dotted key of these settings, for the sentence.
    """
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
  """Settings of the stage that trains a codec."""

  adam_learning_rate: float = non_negative()  # 0 = learning_rate

  @property
  def adam_peak(self) -> float:
    return self.adam_learning_rate or self.learning_rate


@dataclasses.dataclass(frozen=True)
class BaseStageConfig(StageConfig):
  """Settings of a stage whose network is sampled with guidance."""

  drop_text: float = share()  # of the films, which get the negative prompt


@dataclasses.dataclass(frozen=True)
class Stages:
  codec: CodecStageConfig
  base: BaseStageConfig
  base_bidirectional: BaseStageConfig
  init: StageConfig
  dmd: StageConfig
  tune: StageConfig
