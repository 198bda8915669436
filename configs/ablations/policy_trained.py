"""What do window, sink and camr learn, each trained with its own memory?

  python -m cinejax.sweep configs/ablations/policy_trained.py \\
    --workdir=runs/policy_trained

Unlike in policy.py no model is asked to read what it was not trained on.
Nine trainings at the budget of small.py: some 6 hours on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

METRICS = (
  'recall_given',
  'recall_given opening',
  'recall_given later',
  'recall_given_chance',
  'recall',
  'sca',
  'base loss',
)


def get_config() -> ConfigDict:
  return small.get_config()


def sweep() -> list[ablations.Point]:
  policies = ablations.over('memory.policy', ('window', 'sink', 'camr'))
  return ablations.seeded(policies, small.SEEDS)


runs = small.runs
