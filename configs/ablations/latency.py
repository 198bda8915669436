"""How soon is the first frame ready: 2 steps per frame, or 4 per chunk?

  python -m cinejax.sweep configs/ablations/latency.py --workdir=runs/latency

Weights are random, which does not affect the times. A frame-wise student takes
four steps for the first frame of a film and generates one latent frame at a
time; chunks have three. One minute per point on 2 CPU cores, on which nothing
else may run.
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
