"""What does a commit cost: as its own pass, with the next chunk, or none?

  python -m cinejax.sweep configs/ablations/commit.py --workdir=runs/commit

`separate` and `fused` make the same film; `reuse` stores the keys and values of
the last, noisy pass. The shipped students were distilled with commits; to
distil one without, give --config.rollout.commit=reuse to `cinejax.train`. About
5 minutes per point on 2 CPU cores, on which nothing else may run, for the sake
of the times.
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
