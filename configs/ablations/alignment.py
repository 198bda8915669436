"""Does a base remember sooner if it must know what it sees?

  python -m cinejax.sweep configs/ablations/alignment.py \\
    --workdir=runs/alignment

The causal base of configs/story.py:curriculum, in one phase, with the labels of
the story supervised in layer 1, 3 or 5, with names and the reading of returns
supervised (target `returns`), or with neither. Films are cast while it trains;
only the shipped codec is needed. Fifteen trainings of 1,000 updates; use a GPU.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

METRICS = (
  'recall_given',
  'appearance_bits',
  'base loss',
  'base velocity_loss',
  'base alignment',
)


def get_config() -> ConfigDict:
  config = small.curriculum()
  config.story.kinds = (('crowd', 0.5), ('dense', 0.25), ('train', 0.25))
  config.stage.base.steps = 1000
  return config


def sweep() -> list[ablations.Point]:
  points = [
    {'alignment.weight': 0.0, 'name': 'none'},
    {'name': 'returns'},
  ] + [
    {
      'alignment.weight': 0.2,
      'alignment.target': 'labels',
      'alignment.layers': (layer,),
      'name': f'layer_{layer}',
    }
    for layer in (1, 3, 5)
  ]
  return ablations.seeded(points, small.SEEDS)


runs = small.runs
