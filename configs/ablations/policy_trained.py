"""What do models learn with the policies window, sink and camr in training?

  python -m cinejax.sweep configs/ablations/policy_trained.py \\
    --workdir=runs/policy_trained

Unlike in policy.py, every model is evaluated with the policy that it was
trained with. Nine trainings with the budget of small.py; about 6 hours on 2 CPU
cores.
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
