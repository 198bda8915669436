"""How networks are trained, stage by stage."""

import dataclasses
from typing import Any


@dataclasses.dataclass(frozen=True)
class TrainConfig:
  stages: tuple[str, ...]
  log_every_steps: int
  save_every_steps: int
  sample_every_steps: int  # 0 = never
  keep_checkpoints: int
  keep_best: int  # besides those, by mean loss since the save before
  weights_dtype: str  # float32 | bfloat16: of the files that stages make
  wandb_project: str  # '' = none
  codec_weights: str  # used where no stage of this run makes them
  base_weights: str  # the base starts from these
  base_bidirectional_weights: str
  init_weights: str
  dmd_weights: str
  real_weights: str  # of dmd's real score; '' = the base's


@dataclasses.dataclass(frozen=True)
class LoraConfig:
  rank: int  # of the adapters that are trained; 0 = whole networks
  alpha: float  # an adapter counts alpha / rank
  targets: str  # regex of the layers that have one


# (name, updates, ((key, value) ...)): what differs from the config meanwhile; a
# key is one of config's, and `stage.KEY` one of the stage's own
Phase = tuple[str, int, tuple[tuple[str, Any], ...]]


@dataclasses.dataclass(frozen=True)
class StageConfig:
  steps: int  # optimizer updates; with phases, theirs count instead
  batch: int  # examples an update, over all devices
  accumulate: int  # parts that a batch is computed in, one after another
  optimizer: str  # adamw | muon
  learning_rate: float  # at its peak
  warmup_steps: int
  schedule: str  # constant | cosine
  beta1: float
  beta2: float
  moments_dtype: str  # float32 | bfloat16: of the optimizer's state at rest
  weight_decay: float  # of matrices only
  clip_norm: float  # global gradient norm
  spike_norm: float  # a gradient norm above it is no update's; 0 = any
  on_spike: str  # stop | skip: what a spike, or a NaN, does
  ema: float  # decay
  ema_warmup: bool
  drop_text: float  # films trained with the negative prompt
  final_share: float  # of the learning rate, at the end of a cosine
  phases: tuple[Phase, ...]  # () = one, of `steps` updates
  lora: LoraConfig

  def of_phases(self) -> tuple['StageConfig', ...]:
    """The settings of each phase, alone; of a stage without phases its own."""
    if not self.phases:
      return (self,)
    settings = []
    for _, steps, changes in self.phases:
      own = {
        key.removeprefix('stage.'): value
        for key, value in changes
        if key.startswith('stage.')
      }
      settings.append(dataclasses.replace(self, steps=steps, phases=(), **own))
    return tuple(settings)


@dataclasses.dataclass(frozen=True)
class Stages:
  codec: StageConfig
  base: StageConfig
  base_bidirectional: StageConfig
  init: StageConfig
  dmd: StageConfig
  tune: StageConfig
