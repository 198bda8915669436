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
  encoder: str = 'linear'  # linear | conv: of patch, measured or trained
  head_features: int = 0  # of a frame that patch's decoder paints; 0 = width
  noise: float = 0.3  # deviation of noise on latents as patch trains, at most
  keep_latents: bool = False  # of patch, only the decoder is trained


@dataclasses.dataclass(frozen=True)
class TextConfig:
  name: str  # hashed | umt5 | transformers
  words: int  # W
  features: int  # of one caption token
  folder: str  # of umt5's or transformers' weights and tokenizer
  actions: tuple[str, ...] = ()  # that steer single frames; () = none
  frames: int = 1  # F, for actions

  @property
  def rows(self) -> int:
    """Of a caption: W, and F more where actions are read."""
    return self.words + (self.frames if self.actions else 0)


@dataclasses.dataclass(frozen=True)
class DiTConfig:
  layers: int  # L
  heads: int  # H
  head_features: int  # K
  mlp_features: int  # G
  patch: tuple[int, int, int]  # latent frames, rows, columns a token
  actions: int  # kinds of actions of single frames; 0 = none
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
