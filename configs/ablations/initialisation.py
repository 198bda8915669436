"""Which initial student should be distilled, and what does it cost?

  python -m cinejax.sweep configs/ablations/initialisation.py \\
    --workdir=runs/initialisation

Four-step students of the shipped base: initialised with the base itself (none),
by ODE distillation of it or of a bidirectional base, or by consistency
distillation (cd). Each is evaluated before (`init ...`) and after the updates
of configs/story.py:four of distribution matching. Costs are updates, seconds
and stored bytes, without the training of the bidirectional base. Needs the
films of small.py and

  python -m cinejax.train --config=configs/story.py --workdir=runs/story \\
    --config.train.stages="('base_bidirectional',)" \\
    --config.train.codec_weights=weights/story/codec.safetensors \\
    --config.data.films=runs/story/films

A trajectory takes 96 passes of the teacher over a film, so there are only 64 of
each teacher. Consistency distillation stores none and trains on all films, so
the methods also differ in the amount of data.
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
