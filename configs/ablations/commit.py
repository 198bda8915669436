"""What does a commit cost: its own pass, part of the next chunk's, or none?

  python -m cinejax.sweep configs/ablations/commit.py --workdir=runs/commit

`separate` and `fused` make the same film, `reuse` keeps what the last, noisy
pass computed; the students that ship were distilled with commits. One that was
distilled without: --config.rollout.commit=reuse of `cinejax.train`. Some 5
minutes a point on 2 CPU cores; times want them alone.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = (
  'place',
  'sca',
  'unreadable',
  'appearance_bits',
  'rollout chunk_ms',
  'rollout pixel_fps',
  'rollout peak_memory_bytes',
)


def get_config() -> ConfigDict:
  return story.get_config()


def sweep() -> list[ablations.Point]:
  whole = story.get_config()
  students = [
    ablations.variant(name, story.get_config(name), whole)
    for name in ('four', 'two', 'one')
  ]
  commits = ablations.over('rollout.commit', ('separate', 'fused', 'reuse'))
  return ablations.product(students, commits)


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (
    f'{ablations.EVALUATE} --metrics=generated',
    ablations.TIME_ROLLOUT,
  )
