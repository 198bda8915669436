"""How soon is the first frame there: 2 steps a frame, or 4 a chunk of three?

  python -m cinejax.sweep configs/ablations/latency.py --workdir=runs/latency

Random weights: they do not change the time. A frame-wise student takes four
steps for a film's first frame, and gives a latent frame at a time. A minute
a point on 2 CPU cores; take nothing else onto them.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = (
  'first first_ms',
  'first first_pixel_frames',
  'rollout chunk_ms',
  'rollout pixel_fps',
  'rollout pixel_fps_codec',
)


def get_config() -> ConfigDict:
  return story.get_config()


def sweep() -> list[ablations.Point]:
  base = story.get_config()
  students = [
    ablations.variant(name, story.get_config(name), base)
    for name in ('frame_two', 'four')
  ]
  commits = ablations.over('rollout.commit', ('separate', 'fused'))
  return ablations.product(students, commits)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return ('cinejax.bench --what=first --what=rollout --out={dir}/bench.jsonl',)
