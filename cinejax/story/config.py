"""The kinds of story films, and which are rendered; configs/base.py has the
meanings.
"""

import dataclasses

from cinejax.core.config import non_negative, one_of, positive, ruled

# Described in casting.py. A kind's place is part of the seed of its films.
KINDS = (
  'train',
  'eval',
  'long',
  'strict',
  'single',
  'minutes',
  'dense',
  'short',
  'crowd',
  'pictures',
)
# In films of these kinds a character returns, and no training reads them.
EVALUATION_KINDS = ('eval', 'long', 'strict', 'minutes')
# Of films of these kinds a base may be trained on.
TRAINING_KINDS = tuple(kind for kind in KINDS if kind not in EVALUATION_KINDS)


def _is_share(kind: str, share: float) -> bool:
  return kind in TRAINING_KINDS and share > 0


@dataclasses.dataclass(frozen=True)
class StoryConfig:
  films: int = positive()
  seed: int = non_negative()
  clip_frames: int = positive()
  kinds: tuple[tuple[str, float], ...] = ruled(
    f'hold pairs (kind, share), of the kinds {", ".join(TRAINING_KINDS)}',
    lambda pairs: all(_is_share(*pair) for pair in pairs),
  )
  shots_keep: str = one_of('chunks', 'frames')
  appearance_weight: float = positive()
