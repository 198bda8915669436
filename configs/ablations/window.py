"""How long must the window V be if frames beyond it can be routed?

  python -m cinejax.sweep configs/ablations/window.py --workdir=runs/window

All points use the same films, whose returning character is outside of the
longest window. The base was trained with V = 9; a longer window has distances
that it has not seen. About 25 minutes per point on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations, story

WINDOWS = (3, 6, 9, 12)
METRICS = ('recall_given', 'recall', 'sca', 'flicker', 'rollout chunk_ms')


def get_config(variant: str = '') -> ConfigDict:
  config = story.get_config(variant)
  config.eval.window_frames = max(WINDOWS)
  return config


def sweep() -> list[ablations.Point]:
  return ablations.over('memory.window_frames', WINDOWS, 'V')


runs = ablations.direct_and_time
