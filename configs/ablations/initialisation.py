"""What is a first few-step student worth, and what does it cost?

  python -m cinejax.sweep configs/ablations/initialisation.py \\
    --workdir=runs/initialisation

The shipped base, asked for four steps as it is (none), and after 500 updates
of each way: causal ODE distillation, causal consistency distillation. Needs
the films of small.py. None costs 3 minutes on 2 CPU cores, CD some 40 minutes;
ODE makes 96 passes of its teacher an update: give it a GPU.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

FIGURES = (
  'place',
  'size',
  'recall_given',
  'look_bits',
  'sca',
  'init steps',
  'init secs',
  'stored bytes',
)
BASE = 'weights/story/base.safetensors'


def get_config() -> ConfigDict:
  config = small.get_config()
  config.train.stages = ('init',)
  config.train.base_weights = BASE
  config.rollout.sampler = 'few_step'
  config.rollout.steps = 4
  config.rollout.guidance = 1.0
  return config


def sweep() -> list[ablations.Point]:
  return [
    {'name': 'none', 'train.stages': ()},
    {'name': 'ode', 'init.method': 'ode', 'init.guidance': 6.0},
    {'name': 'cd', 'init.method': 'cd', 'init.guidance': 3.0},
  ]


def runs(point: ablations.Point) -> tuple[str, ...]:
  evaluate = 'cinejax.evaluate --out={dir}/eval --metrics=given,generated'
  if point['name'] == 'none':
    return (f'{evaluate} --weights={BASE}',)
  return (
    'cinejax.train --workdir={dir}',
    f'{evaluate} --weights={{dir}}/init.safetensors',
  )
