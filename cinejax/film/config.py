"""What a film is made of, whoever makes it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class FilmConfig:
  fps: float  # pixel frames per second
  height: int  # pixels
  width: int  # pixels
  frames_per_chunk: int  # F
  cut_prefix: str  # opens the prompt of a cut shot's first chunk
