"""How networks are trained, stage by stage."""

import dataclasses


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


@dataclasses.dataclass(frozen=True)
class StageConfig:
  steps: int  # optimizer updates
  batch: int  # examples an update, over all devices
  accumulate: int  # parts that a batch is computed in, one after another
  optimizer: str  # adamw | muon
  learning_rate: float  # at its peak
  adam_learning_rate: float  # of what muon leaves to AdamW; 0 = the same
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
  lora: LoraConfig


@dataclasses.dataclass(frozen=True)
class Stages:
  codec: StageConfig
  base: StageConfig
  base_bidirectional: StageConfig
  init: StageConfig
  dmd: StageConfig
  tune: StageConfig
