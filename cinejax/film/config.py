"""What a film is made of; configs/base.py has the meanings."""

import dataclasses

from cinejax.core.config import positive

# Of a film; and no length, time or setting that is said of one is a greater
# number. More is a slip of the finger.
MOST_CHUNKS = 10_000


@dataclasses.dataclass(frozen=True)
class FilmConfig:
  fps: float = positive()  # pixel frames per second
  height: int = positive()  # pixels
  width: int = positive()  # pixels
  frames_per_chunk: int = positive()  # F
  cut_prefix: str
