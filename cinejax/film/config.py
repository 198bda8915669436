"""The size and rate of a film; configs/base.py explains the keys."""

import dataclasses

from cinejax.core.config import positive, ruled

# The longest film. Lengths, times and settings in screenplays and directions
# have the same upper bound: a greater number is a typing error.
MAX_CHUNKS = 10_000


@dataclasses.dataclass(frozen=True)
class FilmConfig:
  fps: float = positive()  # pixel frames per second
  height: int = positive()  # pixels
  width: int = positive()  # pixels
  frames_per_chunk: int = positive()  # F
  cut_prefix: str
  cast_prompt: str = ruled(
    'hold {name}, the place of a name', lambda value: '{name}' in value
  )
