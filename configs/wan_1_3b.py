"""Wan 2.1 1.3B at 832x480: films of 60 latents, directed chunk by chunk.

Constants are those of the papers' public code: Causal Forcing and its ++
(2602.02214, 2605.15141) for base and init, Self Forcing (2506.08009) for dmd,
LongLive (2509.22622) for tune. Their scale is 64 GPUs and 64 films an update.

A film of 60 latents is too long for one H100, and two have room for one at a
time (35 GiB of the 71 of each, in the base). So the commands that train are for
64 of them, 32 groups of mesh.sequence=2, each of which computes its 2 films of
an update one after the other (accumulate=2). On other numbers of devices
accumulate is 64 / groups.

Runbook, from the root of the repository; `wan` and `wan14b` are folders.

0. Weights, and films of your own clips (captions: docs/data.md):

  hf download Wan-AI/Wan2.1-T2V-1.3B --local-dir=wan
  hf download Wan-AI/Wan2.1-T2V-14B --local-dir=wan14b
  python -m data_prep.video --config=configs/wan_1_3b.py --weights=wan \\
    --clips=clips --out=films
  python -m data_prep.texts --config=configs/wan_1_3b.py --films=films \\
    --config.text.folder=wan  # or captions are encoded in training

1. A base that streams, 50 steps a chunk:

  python -m cinejax.train --config=configs/wan_1_3b.py --workdir=runs/base \\
    --config.data.films=films --config.text.folder=wan \\
    --config.train.codec_weights=wan --config.train.base_weights=wan \\
    --config.mesh.sequence=2 --config.stage.base.accumulate=2

2. From it a student of four steps (`:two`, `:one`): init by consistency, then
dmd against the 14B model's score:

  python -m cinejax.train --config=configs/wan_1_3b.py:four \\
    --workdir=runs/four --config.data.films=films --config.text.folder=wan \\
    --config.train.base_weights=runs/base/base.safetensors \\
    --config.train.base_bidirectional_weights=wan \\
    --config.train.real_weights=wan14b --config.mesh.sequence=2 \\
    --config.stage.init.accumulate=2 --config.stage.dmd.accumulate=2

  multi-shot scores: train the stage base_bidirectional on the films first (its
                accumulate=2, too), and give its file instead of `wan`
  init by ODE   --config.init.method=ode --config.init.guidance=6 \\
                --config.stage.init.beta1=0.9 --config.stage.init.ema=0
  with a GAN    --config.dmd.gan_weight=0.01
  without 14B   --config.dmd.real_layers=0 --config.dmd.real_heads=0 \\
                --config.dmd.real_mlp_features=0 --config.train.real_weights=wan
  from a student of Self Forcing or Causal Forcing, without init: \\
                --config.train.stages="('dmd',)" \\
                --config.train.init_weights=self_forcing_dmd.pt

Whether it fits is compiled before anything is rented (docs/pods.md). Where
everything is recomputed (dit.remat=full), an update of 81 frames takes 42 GiB,
and one of dmd `without 14B` 58, of the 71 of one H100. With `auto`, this update
takes some 55 and computes less:

  python -m cinejax.plan --config=configs/wan_1_3b.py --stage=base \\
    --topology=h100:1x1x1 --config.stage.base.batch=1 --config.data.chunks=7

3. The same student on films of 240 latents, by windows of 21, adapters alone:

  python -m cinejax.train --config=configs/wan_1_3b.py:four \\
    --workdir=runs/four --config.train.stages="('tune',)" \\
    --config.data.films=films --config.data.chunks=80 \\
    --config.text.folder=wan --config.train.base_bidirectional_weights=wan \\
    --config.train.base_weights=runs/base/base.safetensors \\
    --config.train.real_weights=wan14b \\
    --config.train.dmd_weights=runs/four/dmd.safetensors \\
    --config.dmd.fake_learning_rate=2e-6 \\
    --config.mesh.sequence=2 --config.stage.tune.accumulate=2

`frame` is a base of one latent a chunk; `frame_two` and `frame_one` are its
students, which take four steps for a film's first latent.

4. Films, of the base as it was fetched (it is not causal yet: step 1), of the
base, and of the student:

  python -m cinejax.direct --config=configs/wan_1_3b.py --weights=wan \\
    --screenplay=screenplays/demo.json --out=runs/film --platform=gpu
  python -m cinejax.direct --config=configs/wan_1_3b.py --weights=runs/base \\
    --config.train.codec_weights=wan --config.text.folder=wan \\
    --screenplay=screenplays/demo.json --out=runs/film
  python -m cinejax.direct --config=configs/wan_1_3b.py:four \\
    --weights=runs/four --config.train.codec_weights=wan \\
    --config.text.folder=wan --screenplay=screenplays/demo.json --out=runs/film

A bank of 64 latents is 18.4 GB (bfloat16), 9.3 GB with
--config.memory.dtype=int8; with guidance there are two.
"""

from ml_collections import ConfigDict

import configs
from configs import base

# What Wan 2.1 samples against; guidance was tuned with it.
NEGATIVE_PROMPT = (
  '色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，'
  '整体发灰，最差质量，低质量，JPEG压缩残留，丑陋的，残缺的，多余的手指，'
  '画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，'
  '静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走'
)


def get_config(variant: str = '') -> ConfigDict:
  """`variant` follows the file's name and a colon: one of configs.VARIANTS."""
  configs.check_variant(variant)
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
  config.dit.remat = 'auto'
  config.memory.training = 'full'
  config.rollout.sampler = 'unipc'
  config.rollout.steps = 50
  config.rollout.negative_prompt = NEGATIVE_PROMPT
  config.data.chunks = 20  # 60 latents, 237 pixel frames, 14.8 s
  config.init.last_pair = False
  config.train.stages = ('base',)
  config.train.weights_dtype = 'float32'  # updates are finer than bfloat16
  # a sample keeps two guided banks, of 18 GB each and of 82 with 14B, beside
  # the training state: look at films with `direct`, by what a stage has written
  config.train.sample_every_steps = 0
  _set_scores(config)
  _set_stages(config.stage)
  if variant.startswith('frame'):
    config.film.frames_per_chunk = 1
    config.data.chunks = 60
    config.dmd.window = 21
    config.dmd.context = 3
  if variant in configs.STUDENTS:
    configs.make_student(config, variant)
    config.rollout.weights = 'dmd'
  return config


def _set_scores(config: ConfigDict) -> None:
  """The 14B model judges; a copy of this one learns what the student does."""
  config.dmd.scores = 'bidirectional'
  config.dmd.real_layers = 40
  config.dmd.real_heads = 40
  config.dmd.real_mlp_features = 13824
  config.dmd.gan_layers = (13, 21, 29)
  config.dmd.gan_features = 1536


def _set_stages(stages: ConfigDict) -> None:
  for name, steps in (
    ('base', 20_000),
    ('base_bidirectional', 20_000),
    ('init', 5_000),
    ('dmd', 1_000),
    ('tune', 3_000),
  ):
    stage = stages[name]
    stage.steps = steps
    stage.batch = 64
    stage.learning_rate = 2e-6
    stage.schedule, stage.warmup_steps = 'constant', 0
    stage.beta1, stage.beta2 = 0.0, 0.999
    stage.clip_norm = 10.0
  for base_stage in (stages.base, stages.base_bidirectional):
    base_stage.ema = 0.0  # the papers average no base
    base_stage.ema_warmup = False
    base_stage.drop_text = 0.0
  stages.tune.learning_rate = 1e-5
  stages.tune.lora.rank = 256
  stages.tune.lora.alpha = 256.0
