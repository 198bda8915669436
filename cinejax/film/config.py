"""What a film is made of, whoever makes it."""

import dataclasses

# Of a film; and no length, time or setting that is said of one is a greater
# number. More is a slip of the finger.
MOST_CHUNKS = 10_000


@dataclasses.dataclass(frozen=True)
class FilmConfig:
  fps: float  # pixel frames per second
  height: int  # pixels
  width: int  # pixels
  frames_per_chunk: int  # F
  cut_prefix: str  # opens the prompt of a cut shot's first chunk
