"""How do students of 4, 2 and 1 steps differ from the base?

  python -m cinejax.sweep configs/ablations/steps.py --workdir=runs/steps

The shipped networks with the settings of their configs: the base with 24 steps
and guidance, students without guidance. Three sampling seeds; on 2 CPU cores 30
minutes for the base and less than 5 for a student.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = (
  'place',
  'size',
  'action',
  'recall_given',
  'recall',
  'appearance_bits',
  'sca',
  'rollout chunk_ms',
)


def get_config() -> ConfigDict:
  return story.get_config()


def sweep() -> list[ablations.Point]:
  whole = story.get_config()
  return [{'name': 'base'}] + [
    ablations.variant(name, story.get_config(name), whole)
    for name in ('four', 'two', 'one')
  ]


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (
    f'{ablations.EVALUATE} --metrics=given,generated',
    ablations.TIME_ROLLOUT,
  )
