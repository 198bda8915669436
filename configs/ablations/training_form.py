"""Does a base that was trained on routed context remember better than on all?

  python -m cinejax.sweep configs/ablations/training_form.py \\
    --workdir=runs/training_form

`routed` sees in training what generation will see, `full` all of the past.
Both generate with camr, whose positions `full` has not seen. Six trainings:
some 4 hours on 2 CPU cores.
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
