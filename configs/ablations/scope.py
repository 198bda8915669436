"""Who should route: every layer, one for all layers above, or every head?

  python -m cinejax.sweep configs/ablations/scope.py --workdir=runs/scope

Each is trained with the budget of small.py, since a model that was trained with
one scope may not work with another. Nine trainings; about 6 hours on 2 CPU
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
  scopes = ablations.over('memory.scope', ('layer', 'shared', 'head'))
  return ablations.seeded(scopes, small.SEEDS)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  bench = 'cinejax.bench --what=train --what=rollout --out={dir}/bench.jsonl'
  return (*small.RUNS, bench)
