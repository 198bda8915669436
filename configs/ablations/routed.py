"""How many routed frames R does camr need to be as good as reading all?

  python -m cinejax.sweep configs/ablations/routed.py --workdir=runs/routed

Evaluation films have at most 33 latent frames; `full` reads all of them, with
absolute positions. The base was trained with R = 5; with more, frames have
distances that it has not seen. About 25 minutes per point on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = ('recall_given', 'recall', 'sca', 'rollout chunk_ms')


def get_config(variant: str = '') -> ConfigDict:
  return story.get_config(variant)


def sweep() -> list[ablations.Point]:
  routed = ablations.over('memory.routed_frames', (1, 2, 3, 5, 9, 16), 'R')
  return [*routed, {'name': 'full', 'memory.policy': 'full'}]


runs = ablations.direct_and_time
