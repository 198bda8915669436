"""Should frames be routed at every denoising step, or once per chunk?

  python -m cinejax.sweep configs/ablations/reroute.py --workdir=runs/reroute

About 30 minutes per point on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = ('recall_given', 'recall_swap', 'recall', 'sca', 'rollout chunk_ms')


def get_config(variant: str = '') -> ConfigDict:
  return story.get_config(variant)


def sweep() -> list[ablations.Point]:
  return ablations.over('memory.reroute', ('step', 'chunk'))


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (ablations.EVALUATE, ablations.TIME_ROLLOUT)
