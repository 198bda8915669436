"""Which memory policy finds a returning character, with the same model?

  python -m cinejax.sweep configs/ablations/policy.py --workdir=runs/policy

All policies but `full` read at most R frames outside of the window; `head` is
camr with heads that choose apart (config.memory.scope). For films with longer
absences give --config.eval.kind=long. Three sampling seeds; about 30 minutes
per policy on 2 CPU cores.
"""

from ml_collections import ConfigDict

from cinejax.memory.config import POLICIES
from configs import ablations, story

METRICS = (
  'recall_given',
  'recall_given opening',
  'recall_given later',
  'recall_given_chance',
  'recall_swap',
  'recall',
  'sca',
)


def get_config(variant: str = '') -> ConfigDict:
  return story.get_config(variant)


def sweep() -> list[ablations.Point]:
  head = {'name': 'head', 'memory.scope': 'head'}
  return [*ablations.over('memory.policy', POLICIES), head]


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (ablations.EVALUATE,)
