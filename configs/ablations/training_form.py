"""Does a base remember better if it is trained on routed context?

  python -m cinejax.sweep configs/ablations/training_form.py \\
    --workdir=runs/training_form

In training, `routed` sees the same context as in generation, and `full` the
whole past. Both generate with camr, whose positions `full` has not seen. Six
trainings; about 4 hours on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

METRICS = ('recall_given', 'recall', 'sca', 'base loss', 'train step_ms')


def get_config() -> ConfigDict:
  return small.get_config()


def sweep() -> list[ablations.Point]:
  forms = ablations.over('memory.training', ('full', 'routed'))
  return ablations.seeded(forms, small.SEEDS)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (*small.RUNS, 'cinejax.bench --what=train --out={dir}/bench.jsonl')
