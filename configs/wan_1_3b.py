"""Wan 2.1 1.3B at 832x480: films of 60 latents, directed chunk by chunk.

Constants are those of the papers' public code: Causal Forcing and its ++
(2602.02214, 2605.15141) for base and init. Their scale is 64 GPUs and 64 films
an update.

Runbook, from the root of the repository; `wan` is a folder.

0. Weights, and films of one's own clips (captions: see BUILD.md):

  hf download Wan-AI/Wan2.1-T2V-1.3B --local-dir=wan
  python -m data_prep.video --config=configs/wan_1_3b.py --weights=wan \\
    --clips=clips --out=films

1. A base that streams, 50 steps a chunk, and from it a first student that
takes four (init: consistency):

  python -m cinejax.train --config=configs/wan_1_3b.py --workdir=runs/wan \\
    --config.data.films=films --config.text.folder=wan \\
    --config.train.codec_weights=wan --config.train.base_weights=wan

Other ways, each a few flags more:

  init by ODE   --config.init.method=ode --config.init.guidance=6 \\
                --config.stage.init.beta1=0.9 --config.stage.init.ema=0
  one latent at a time   --config=configs/wan_1_3b.py:frame

2. Films. The base with guidance, the student without:

  python -m cinejax.direct --config=configs/wan_1_3b.py --weights=wan \\
    --screenplay=screenplays/demo.json --out=runs/film --platform=gpu
  python -m cinejax.direct --config=configs/wan_1_3b.py \\
    --weights=runs/wan/init.safetensors \\
    --config.train.codec_weights=wan --config.text.folder=wan \\
    --config.rollout.sampler=few_step --config.rollout.steps=4 \\
    --config.rollout.guidance=1 \\
    --screenplay=screenplays/demo.json --out=runs/film

A bank of 64 latents is 18.4 GB (bfloat16), 9.3 GB with
--config.memory.dtype=int8; with guidance there are two.
"""

from ml_collections import ConfigDict

from cinejax.core.errors import UserError
from configs import base

# What Wan 2.1 samples against; guidance was tuned with it.
NEGATIVE_PROMPT = (
  '色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，'
  '整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，'
  '画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，'
  '静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走'
)


def get_config(variant: str = '') -> ConfigDict:
  """`variant` follows the file's name and a colon: `frame`, or nothing."""
  if variant not in ('', 'frame'):
    raise UserError(f'there is no variant {variant}; there is frame')
  config = base.get_config()
  config.name = 'wan_1_3b'
  config.codec.name = 'wan_vae'
  config.codec.width = 96
  config.codec.blocks = 2
  config.codec.compute_dtype = 'bfloat16'
  config.text.name = 'umt5'
  config.text.words = 512
  config.text.features = 4096
  config.dit.layers = 30
  config.dit.heads = 12
  config.dit.head_features = 128
  config.dit.mlp_features = 8960
  config.dit.remat = 'full'
  config.memory.training = 'full'
  config.rollout.steps = 50
  config.rollout.negative_prompt = NEGATIVE_PROMPT
  config.data.chunks = 20  # 60 latents, 237 pixel frames, 14.8 s
  config.init.last_pair = False
  config.train.stages = ('base', 'init')
  config.train.weights_dtype = 'float32'  # updates are finer than bfloat16
  _set_stages(config.stage)
  if variant == 'frame':
    config.film.frames_per_chunk = 1
    config.data.chunks = 60
  return config


def _set_stages(stages: ConfigDict) -> None:
  for name, steps in (
    ('base', 20_000),
    ('init', 5_000),
  ):
    stage = stages[name]
    stage.steps = steps
    stage.batch = 64
    stage.learning_rate = 2e-6
    stage.schedule, stage.warmup_steps = 'constant', 0
    stage.beta1, stage.beta2 = 0.0, 0.999
    stage.clip_norm = 10.0
    stage.drop_text = 0.0
  stages.base.ema = 0.0  # the papers average no base
  stages.base.ema_warmup = False
