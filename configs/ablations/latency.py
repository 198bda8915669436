"""How soon is the first frame there: 2 steps a frame, or 4 a chunk of three?

  python -m cinejax.sweep configs/ablations/latency.py --workdir=runs/latency

Random weights: they do not change the time. A frame-wise student takes four
steps for a film's first frame, and gives a latent frame at a time. A minute
a point on 2 CPU cores; take nothing else onto them.
"""

from ml_collections import ConfigDict

from configs import ablations, story

FIGURES = (
  'first first_ms',
  'first first_pixel_frames',
  'rollout chunk_ms',
  'rollout pixel_fps',
  'rollout pixel_fps_codec',
)


def get_config() -> ConfigDict:
  config = story.get_config()
  config.rollout.sampler = 'few_step'
  config.rollout.steps = 4
  config.rollout.guidance = 1.0
  return config


def sweep() -> list[ablations.Point]:
  frames = ablations.over('film.frames_per_chunk', (1, 3), 'F')
  steps = ablations.over('rollout.steps', (2, 4), 'steps')
  return ablations.product(
    ablations.zipped(frames, steps),
    ablations.over('rollout.commit', ('separate', 'fused')),
  )


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return ('cinejax.bench --what=first --what=rollout --out={dir}/bench.jsonl',)
