"""How long must the window V be, when what is beyond it can be routed?

  python -m cinejax.sweep configs/ablations/window.py --workdir=runs/window

Films are cast for each V: who returns was always out of the window. About 8
minutes a point on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations, story

FIGURES = ('recall_given', 'recall', 'sca', 'flicker', 'rollout chunk_ms')


def get_config() -> ConfigDict:
  return story.get_config()


def sweep() -> list[ablations.Point]:
  return ablations.over('memory.window_frames', (3, 6, 9, 12), 'V')


runs = ablations.direct_and_time
