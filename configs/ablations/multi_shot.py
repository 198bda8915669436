"""Can a model cut if it was trained on films of a single shot?

  python -m cinejax.sweep configs/ablations/multi_shot.py \\
    --workdir=runs/multi_shot

Two data sets, with the budget of small.py. The second one is made by

  python -m data_prep.story --config=configs/story.py --kind=single \\
    --weights=weights/story/codec.safetensors --out=runs/story/single

Six trainings; about 4 hours on 2 CPU cores.
"""

from ml_collections import ConfigDict

from configs import ablations
from configs.ablations import small

METRICS = ('sca', 'false_cuts', 'place', 'recall_given', 'recall')


def get_config() -> ConfigDict:
  return small.get_config()


def sweep() -> list[ablations.Point]:
  films = [
    {'name': 'single', 'data.films': 'runs/story/single'},
    {'name': 'multi', 'data.films': small.FILMS},
  ]
  return ablations.seeded(films, small.SEEDS)


runs = small.runs
