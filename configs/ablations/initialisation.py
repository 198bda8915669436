"""Which first student should be distilled, and what does it cost to get there?

  python -m cinejax.sweep configs/ablations/initialisation.py \\
    --workdir=runs/initialisation

Four steps from the shipped base: from the base as it is (none), from ODE
distillation of it or of a bidirectional base, and from consistency
distillation (cd). Each is measured before (`init ...`) and after 1,000 updates
of distribution matching; costs are updates, seconds and bytes stored, without
the training of a bidirectional base. Needs the films of small.py and

  python -m cinejax.train --config=configs/story.py --workdir=runs/story \\
    --config.train.stages="('base_bidirectional',)" \\
    --config.train.codec_weights=weights/story/codec.safetensors \\
    --config.data.films=runs/story/films

A trajectory is 96 passes of its teacher over a film, which is why there are 64
of each teacher. Consistency distillation stores none and reads every film: part
of what differs is how much each has seen.
"""

from ml_collections import ConfigDict

from configs import ablations, story
from configs.ablations import small

METRICS = (
  'init sca',
  'sca',
  'init unreadable',
  'unreadable',
  'init appearance_bits',
  'appearance_bits',
  'recall_given',
  'init steps',
  'init secs',
  'data_prep.trajectories secs',
  'stored bytes',
)
BIDIRECTIONAL = 'runs/story/base_bidirectional.safetensors'
EVALUATE = 'cinejax.evaluate --metrics=given,generated --seeds=3'


def get_config() -> ConfigDict:
  config = small.shared(story.get_config('four'))
  config.train.base_weights = small.BASE
  return config


def sweep() -> list[ablations.Point]:
  none = {
    'name': 'none',
    'train.stages': ('dmd',),
    'train.init_weights': small.BASE,
  }
  ode = {
    'init.method': 'ode',
    'init.guidance': 6.0,
    'init.trajectories': '{dir}/trajectories',
  }
  teachers = ablations.over('init.teacher', ('causal', 'bidirectional'), 'ode-')
  cd = {'name': 'cd', 'init.method': 'cd', 'init.guidance': 3.0}
  return [none, *(teacher | ode for teacher in teachers), cd]


def runs(point: ablations.Point) -> tuple[str, ...]:
  first = small.BASE if point['name'] == 'none' else '{dir}/init.safetensors'
  teacher = small.BASE
  if point.get('init.teacher') == 'bidirectional':
    teacher = BIDIRECTIONAL
  trajectories = (
    f'data_prep.trajectories --weights={teacher} --out={{dir}}/trajectories '
    '--films=64'
  )
  return (
    *([trajectories] if 'init.teacher' in point else []),
    'cinejax.train --workdir={dir}',
    f'{EVALUATE} --weights={first} --out={{dir}}/eval-init',
    f'{EVALUATE} --weights={{dir}}/dmd.safetensors --out={{dir}}/eval',
  )
