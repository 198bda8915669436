"""How small can the bank of a long film be: frames, eviction, bits?

  python -m cinejax.sweep configs/ablations/bank.py --workdir=runs/bank

Films of 40 chunks, 120 latent frames, with banks of E frames; V + R + F = 17.
Keys and values are stored as computed, in float32 here, or in 8 or 4 bits.
`psnr_bank` compares the return shot with that which the bank of all frames
makes in float32. Nothing is routed in a given past, so `unused` can be seen
only in `recall`, of films that are generated as a whole. An archive forgets
nothing, and its frames do not count as bytes of the bank. 16 films; with a
student (`bank.py:four`) 17 points, together about an hour on a CPU core.
"""

from ml_collections import ConfigDict

from cinejax.memory.config import STORAGES
from configs import ablations, story

METRICS = ('bank_bytes', 'recall_given', 'psnr_bank', 'recall')
X_AXIS = 'bank_bytes'
RULES = ('oldest', 'redundant', 'unused', 'merge')


def get_config(variant: str = '') -> ConfigDict:
  config = story.get_config(variant)
  config.eval.kind = 'long'
  config.eval.films = 16
  return config


def sweep() -> list[ablations.Point]:
  bounded = ablations.product(
    ablations.over('memory.bank_frames', (18, 32, 64), 'E'),
    ablations.over('memory.evict', RULES),
  )
  archived = {
    'name': 'E18-archive',
    'memory.bank_frames': 18,
    'memory.archive': 'host',
    'memory.archive_frames': 120,
  }
  whole = ablations.over('memory.bank_frames', (120,), 'E')
  stored = ablations.over('memory.dtype', STORAGES[1:])
  return [*bounded, archived, *whole, *ablations.product(whole, stored)]


def runs(point: ablations.Point) -> tuple[str, ...]:
  del point
  return (f'{ablations.EVALUATE} --metrics=given,bank,generated',)
