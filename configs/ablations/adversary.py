"""Does an adversary improve distribution matching, and with which weight?

  python -m cinejax.sweep configs/ablations/adversary.py \\
    --workdir=runs/adversary

Four-step students start from the same initial student and the shipped base, and
are distilled by the updates of configs/story.py:four, on films that are cast
meanwhile. Needs

  python -m cinejax.train --config=configs/story.py:four --workdir=runs/four \\
    --config.train.stages="('init',)" \\
    --config.train.codec_weights=weights/story/codec.safetensors \\
    --config.train.base_weights=weights/story/base.safetensors

Nine distillations.
"""

from ml_collections import ConfigDict

from configs import ablations, story
from configs.ablations import small

METRICS = (
  'place',
  'action',
  'recall_given',
  'appearance_bits',
  'sca',
  'flicker',
  'dmd secs',
)


def get_config() -> ConfigDict:
  config = story.get_config('four')
  config.train.stages = ('dmd',)
  config.train.codec_weights = small.CODEC
  config.train.base_weights = small.BASE
  config.train.init_weights = 'runs/four/init.safetensors'
  return config


def sweep() -> list[ablations.Point]:
  weights = ablations.over('dmd.gan_weight', (0.0, 0.01, 0.1), 'gan')
  return ablations.seeded(weights, small.SEEDS)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (
    'cinejax.train --workdir={dir}',
    'cinejax.evaluate --weights={dir}/dmd.safetensors --out={dir}/eval '
    '--metrics=given,generated',
  )
