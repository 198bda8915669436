"""The kinds of story films, and which are rendered; configs/base.py has the
meanings.
"""

import dataclasses

from cinejax.core.config import non_negative, positive

# Described in casting.py. A kind's place is part of the seed of its films.
KINDS = ('train', 'eval', 'long', 'strict', 'single', 'minutes')
# In films of these kinds a character returns, and no training reads them.
EVALUATION_KINDS = ('eval', 'long', 'strict', 'minutes')


@dataclasses.dataclass(frozen=True)
class StoryConfig:
  films: int = positive()
  seed: int = non_negative()
  clip_frames: int = positive()
