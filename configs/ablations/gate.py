"""Does a base remember better if heads learn how much routed frames count?

  python -m cinejax.sweep configs/ablations/gate.py --workdir=runs/gate

The shipped base is trained on with the context of a rollout, with gates and
without, by 100 updates of 8 films that are cast while it trains. About 10
minutes a point on a CPU core.
"""

from ml_collections import ConfigDict

from configs import ablations, story
from configs.ablations import small

METRICS = (
  'recall_given',
  'recall_given opening',
  'recall_given later',
  'recall_given_chance',
  'route_hit_1',
  'route_share_1',
  'base velocity_loss',
)


def get_config() -> ConfigDict:
  config = small.curriculum()
  config.train.base_weights = small.BASE
  config.train.sample_every_steps = config.train.probe_every_steps = 0
  config.story.kinds = (('crowd', 0.5), ('train', 0.5))
  config.memory.training = 'routed'
  story.continue_base(config, steps=100, rate=1e-3)
  return config


def sweep() -> list[ablations.Point]:
  return ablations.over('dit.gate', (False, True), 'gate')


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (
    'cinejax.train --workdir={dir}',
    'cinejax.evaluate --weights={dir}/base.safetensors --out={dir}/eval '
    '--metrics=given --seeds=3',
  )
