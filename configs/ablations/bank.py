"""How small may the bank be in a long film, and what should it let go?

  python -m cinejax.sweep configs/ablations/bank.py --workdir=runs/bank

Films of 40 chunks, 120 latent frames, in banks of E frames; V + R + F = 17.
A past that is given uses nothing, so `unused` shows in `recall`, of films that
are generated whole. 16 films: some 45 minutes a point on 2 CPU cores, 13
points.
"""

from ml_collections import ConfigDict

from configs import ablations, story

METRICS = ('recall_given', 'recall', 'recall opening', 'recall later')
RULES = ('oldest', 'redundant', 'unused')


def get_config(variant: str = '') -> ConfigDict:
  config = story.get_config(variant)
  config.eval.kind = 'long'
  config.eval.films = 16
  return config


def sweep() -> list[ablations.Point]:
  bounded = ablations.product(
    ablations.over('memory.bank_frames', (18, 24, 32, 64), 'E'),
    ablations.over('memory.evict', RULES),
  )
  return bounded + ablations.over('memory.bank_frames', (120,), 'E')


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (f'{ablations.EVALUATE} --metrics=given,generated',)
