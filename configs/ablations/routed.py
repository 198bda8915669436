"""How many routed frames R does camr need to do what reading all does?

  python -m cinejax.sweep configs/ablations/routed.py --workdir=runs/routed

Evaluation films have 33 latent frames at most; `full` reads all of them, in
absolute positions. The base was trained with R = 5: more frames lie at
distances that it has not seen. About 25 minutes a point on 2 CPU cores.
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
