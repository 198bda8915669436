"""How much of the past reaches a chunk through the keys of its window?

  python -m cinejax.sweep configs/ablations/relay.py --workdir=runs/relay

The keys and values of a chunk are computed while it reads the chunks before it,
so that its window can pass on what is older. Re-encoded, the keys and values of
the window are computed again from an empty bank before each chunk, and cannot:
what then remains of recall is due to routing alone. This takes V / F passes
more for each chunk.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = ('recall_given', 'recall', 'sca', 'rollout chunk_ms')


def get_config(variant: str = '') -> ConfigDict:
  return story.get_config(variant)


def sweep() -> list[ablations.Point]:
  policies = ablations.over('memory.policy', ('window', 'camr'))
  windows = [
    {'name': 'committed', 'memory.reencode': False},
    {'name': 'reencoded', 'memory.reencode': True},
  ]
  return ablations.product(policies, windows)


runs = ablations.direct_and_time
