"""What does a commit cost: its own pass, part of the next chunk's, or none?

  python -m cinejax.sweep configs/ablations/commit.py --workdir=runs/commit

`separate` and `fused` make the same film, `reuse` keeps what the last, noisy
pass computed. Random weights: they do not change the time. A minute a point on
2 CPU cores; take nothing else onto them.
"""

from ml_collections import ConfigDict

from configs import ablations, story

FIGURES = ('rollout chunk_ms', 'rollout pixel_fps', 'rollout peak_memory_bytes')


def get_config() -> ConfigDict:
  config = story.get_config()
  config.rollout.sampler = 'few_step'
  config.rollout.steps = 4
  config.rollout.guidance = 1.0
  return config


def sweep() -> list[ablations.Point]:
  return ablations.product(
    ablations.over('rollout.steps', (1, 2, 4), 'steps'),
    ablations.over('rollout.commit', ('separate', 'fused', 'reuse')),
  )


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (ablations.TIME_ROLLOUT,)
