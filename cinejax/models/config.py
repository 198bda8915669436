"""Sizes of the networks."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CodecConfig:
  name: str  # patch | taef2 | wan_vae | taehv
  temporal_stride: int  # pixel frames a latent frame; the first alone
  spatial_stride: int  # pixels a latent row or column
  channels: int  # C
  width: int  # features of patch; those of wan_vae at full size
  blocks: int  # residual blocks in each half of patch, in a level of wan_vae
  tile: int  # latent rows and columns wan_vae works on at once; 0 = all
  tile_overlap: int  # of neighbouring tiles, at least
  compute_dtype: str  # float32 | bfloat16: that wan_vae and taehv compute in


@dataclasses.dataclass(frozen=True)
class TextConfig:
  name: str  # hashed | umt5 | transformers
  words: int  # W
  features: int  # of one caption token
  folder: str  # of umt5's or transformers' weights and tokenizer


@dataclasses.dataclass(frozen=True)
class DiTConfig:
  layers: int  # L
  heads: int  # H
  head_features: int  # K
  mlp_features: int  # G
  patch: tuple[int, int, int]  # latent frames, rows, columns a token
  positions: tuple[int, int]  # rows, columns of a learnt table; (0, 0) = none
  time_features: int  # of the sinusoid
  channels: int  # C
  text_features: int  # of one caption token
  epsilon: float  # of every norm
  compute_dtype: str  # float32 | bfloat16
  remat: str  # none | attention | dots | full
  attention: str  # auto | xla | cudnn | splash

  @property
  def features(self) -> int:
    """D = H K."""
    return self.heads * self.head_features
