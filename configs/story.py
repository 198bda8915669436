"""The story world: every claim of cinejax, measured on a laptop.

Runbook, from the root of the repository. Films are rendered while a network
trains, so that none of these commands needs a data set. Each can be
interrupted at any time, and the same command continues it. launch/story.sh
runs the first three in turn.

1. A curriculum teaches a base (24 steps) to remember; `_teach_to_remember`
below has its phases. `:curriculum_large` has more films in an update, to keep
an accelerator busy, and --config.data.workers=N processes cast them:

  python -m cinejax.train --config=configs/story.py:curriculum \
    --workdir=runs/base --config.train.stages="('base',)" \
    --config.train.codec_weights=weights/story/codec.safetensors

It starts from random weights, or with --config.train.base_weights=FILE from
those of a file.

2. A student of four steps, from that base:

  python -m cinejax.train --config=configs/story.py:four --workdir=runs/four \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=runs/base/base.safetensors
  python -m cinejax.direct --config=configs/story.py:four \
    --weights=runs/four/dmd.safetensors --screenplay=screenplays/demo.json \
    --config.train.codec_weights=weights/story --out=runs/four/film

3. Students of fewer steps, each from the one before:

  python -m cinejax.train --config=configs/story.py:two --workdir=runs/two \
    --config.train.stages="('dmd',)" \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=runs/base/base.safetensors \
    --config.train.init_weights=runs/four/init.safetensors

and `:one` from runs/two/dmd.safetensors.

4. A base whose chunks have one latent frame starts from the base that ships:

  python -m cinejax.train --config=configs/story.py:frame \
    --workdir=runs/frame --config.train.stages="('base',)" \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=weights/story/base.safetensors

Its students `:frame_two` and `:frame_one` take four steps for the first frame
of a film:

  python -m cinejax.train --config=configs/story.py:frame_two \
    --workdir=runs/frame_two \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=runs/frame/base.safetensors

5. A base that also reads an action for each latent frame, such as `Ada is in
the forest, wide shot [left|left|jump]`. It starts from the base that ships,
which reads words, and learns from it what actions mean
(cinejax/objectives/retelling.py):

  python -m cinejax.train --config=configs/story.py:steered \
    --workdir=runs/steered --config.train.stages="('base',)" \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=weights/story/base.safetensors \
    --config.train.teller_weights=weights/story/base.safetensors
  python -m cinejax.direct --config=configs/story.py:steered \
    --weights=runs/steered/base.safetensors --out=runs/steered/film \
    --screenplay=screenplays/steered.json \
    --config.train.codec_weights=weights/story

6. Any stage learns from a data set instead, where config.data.films names one.
The stage tune trains a student on windows of long films:

  python -m data_prep.story --config=configs/story.py --kind=long --seed=1 \
    --films=512 --weights=weights/story/codec.safetensors --out=runs/long
  python -m cinejax.train --config=configs/story.py:four --workdir=runs/tune \
    --config.train.stages="('tune',)" --config.data.films=runs/long \
    --config.data.chunks=40 \
    --config.train.codec_weights=weights/story/codec.safetensors \
    --config.train.base_weights=runs/base/base.safetensors \
    --config.train.dmd_weights=runs/four/dmd.safetensors
"""

from ml_collections import ConfigDict

import configs
from configs import base

VARIANTS = (*configs.VARIANTS, 'steered', 'curriculum', 'curriculum_large')


def get_config(variant: str = '') -> ConfigDict:
  """`variant` follows the file's name and a colon: one of VARIANTS."""
  configs.check_variant(variant, VARIANTS)
  config = base.get_config()
  config.name = 'story'
  config.film.fps = 8
  config.film.height = 64
  config.film.width = 64
  # as the films of the training say it; any place is as good
  config.film.cast_prompt = '{name} stands in the forest, medium shot'
  config.codec.blocks = 6
  config.codec.head_features = 192
  config.dit.compute_dtype = 'float32'
  config.dit.positions = (4, 4)  # worlds are small: where is what matters
  config.diffusion.shift = 3.0  # of 64 latent cells; 5 is for thousands
  config.rollout.guidance = 2.0
  for stage in (config.stage.base, config.stage.base_bidirectional):
    stage.optimizer = 'muon'
    stage.learning_rate = 5e-3
  if variant.startswith('frame'):
    config.film.frames_per_chunk = 1
    config.data.chunks = 33
    config.dmd.window = 21
    config.dmd.context = 3
    config.rollout.weights = 'frame'
    config.story.kinds = (('crowd', 0.5), ('train', 0.5))
    config.story.shots_keep = 'frames'
  if variant == 'frame':
    _supervise_returns(config, copies=2)
    continue_base(config, steps=200, rate=1e-3)
  if variant == 'steered':
    _learn_actions(config)
  if variant == 'curriculum':
    _teach_to_remember(config, copies=2, batch=12)
  if variant == 'curriculum_large':
    _teach_to_remember(config, copies=4, batch=32)
  if variant in configs.STUDENTS:
    _distil(config, variant)
  return config


def _teach_to_remember(config: ConfigDict, copies: int, batch: int) -> None:
  """Trains the base on films in which nearly every chunk is a return.

  Half of the times are pure noise, where only the prompt and memory say what to
  draw, and errors count more where a character is. In most films up to eight
  characters return in no order, so that only a name tells who it is; the layers
  learn to know names, and router and attention to find the named one. Films of
  one latent frame a chunk come first: they cost a third of the others, so that
  the model sees three times as many returns. Then come chunks of three frames,
  among them films as people watch them, and last the context that a rollout
  reads.

  Args:
    config: of the story world; changed in place.
    copies: noisy copies of each film.
    batch: films of an update with chunks of three frames.
  """
  _supervise_returns(config, copies)
  config.data.chunks = 11
  kinds = (('crowd', 0.35), ('train', 0.35), ('pictures', 0.3))
  stage = config.stage.base
  stage.ema = 0.995
  stage.phases = (
    configs.phase(
      'frames',
      12_000,
      {
        'film.frames_per_chunk': 1,
        'story.kinds': (('crowd', 0.5), ('pictures', 0.3), ('train', 0.2)),
        'stage.batch': 2 * batch,
        'stage.learning_rate': 2e-3,
        'stage.schedule': 'constant',
      },
    ),
    configs.phase(
      'chunks',
      8_000,
      {
        'story.kinds': kinds,
        'stage.batch': batch,
        'stage.learning_rate': 2e-3,
        'stage.final_share': 0.0,
      },
    ),
    configs.phase(
      'routed',
      1_000,
      {
        'story.kinds': kinds,
        'memory.training': 'routed',
        'stage.batch': batch,
        'stage.learning_rate': 3e-4,
        'stage.final_share': 0.0,
      },
    ),
  )


def _supervise_returns(config: ConfigDict, copies: int) -> None:
  """Supervises names and what is read where a character returns."""
  _read_whole_films(config, copies, pure_noise=0.5)
  config.alignment.weight = 1.0  # once names are known, it vanishes
  config.alignment.target = 'returns'
  config.alignment.layers = (1, 2, 3, 4)


def _read_whole_films(
  config: ConfigDict, copies: int, pure_noise: float
) -> None:
  """Trains the base on noisy copies of films, which read all of the past."""
  config.diffusion.copies = copies
  config.diffusion.pure_noise = pure_noise
  config.story.appearance_weight = 3.0
  config.dit.unroll = 'training'
  config.memory.training = 'full'


def continue_base(config: ConfigDict, steps: int, rate: float) -> None:
  """A short training of the base, from the weights of another one."""
  stage = config.stage.base
  stage.steps, stage.batch, stage.warmup_steps = steps, 8, 10
  stage.learning_rate, stage.final_share = rate, 0.0
  stage.ema = 0.98


def _learn_actions(config: ConfigDict) -> None:
  """Steers a base by actions of latent frames, whose meaning it is taught."""
  config.text.actions = ('left', 'right', 'jump', 'camera')
  config.dit.actions = len(config.text.actions)
  config.rollout.weights = 'steered'
  config.story.kinds = (('train', 1.0),)
  config.data.chunks = 8
  _read_whole_films(config, copies=2, pure_noise=0.3)
  continue_base(config, steps=520, rate=1.5e-3)


def _distil(config: ConfigDict, variant: str) -> None:
  """Distils the shipped base on films that are cast on request."""
  configs.make_student(config, variant)
  config.rollout.weights = variant
  config.story.kinds = (('train', 0.5), ('crowd', 0.5))
  config.data.chunks = 24 if variant.startswith('frame') else 8
  config.stage.init.batch = config.stage.dmd.batch = 4
  config.stage.init.steps = 150 if variant.startswith('frame') else 400
  config.stage.init.warmup_steps = 10
  config.stage.dmd.steps = 80
  config.stage.dmd.warmup_steps = 28
  config.stage.dmd.ema = 0.98
  for stage in (config.stage.dmd, config.stage.tune):
    stage.learning_rate = 5e-5
  config.dmd.fake_learning_rate = 2e-4
  config.dmd.guidance = 2.0
