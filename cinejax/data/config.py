"""Where training films come from."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class DataConfig:
  films: str  # folder of a TFDS data set of latent films
  chunks: int  # N of a training batch
  kinds: tuple[tuple[str, float], ...]  # of story films without a folder


@dataclasses.dataclass(frozen=True)
class StoryConfig:
  films: int  # rendered for training
  seed: int  # of training films
  clip_frames: int  # pixel frames of a codec training clip
  look_weight: float  # of an error where a character is, in training
