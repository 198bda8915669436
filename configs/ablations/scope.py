"""Should every layer route by itself, or one layer for all layers above?

  python -m cinejax.sweep configs/ablations/scope.py --workdir=runs/scope

Each is trained with the budget of small.py, since a model that was trained with
one scope does not work with the other. Six trainings; about 4 hours on 2 CPU
cores.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

METRICS = (
  'recall_given',
  'recall',
  'sca',
  'base loss',
  'train step_ms',
  'rollout chunk_ms',
)


def get_config() -> ConfigDict:
  return small.get_config()


def sweep() -> list[ablations.Point]:
  scopes = ablations.over('memory.scope', ('layer', 'shared'))
  return ablations.seeded(scopes, small.SEEDS)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  bench = 'cinejax.bench --what=train --what=rollout --out={dir}/bench.jsonl'
  return (*small.RUNS, bench)
