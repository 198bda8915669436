"""Sizes of the networks; configs/base.py has the meanings."""

import dataclasses

from cinejax.core.config import (
  FLOATS,
  multiple_of,
  non_negative,
  one_of,
  positive,
  ruled,
)

CAMERA_KEYS = ('w', 's', 'a', 'd', 'u', 'dn', 'j', 'l', 'i', 'k')  # camera.py
POSE = 12  # numbers of a camera's pose: R and t as rows of a matrix [3, 4]


@dataclasses.dataclass(frozen=True)
class CodecConfig:
  name: str = one_of('patch', 'taef2', 'wan_vae', 'wan22_vae', 'taehv')
  temporal_stride: int = positive()  # pixel frames a latent frame
  spatial_stride: int = positive()  # pixels a latent row or column
  channels: int = positive()  # C
  width: int = positive()  # features
  blocks: int = positive()
  tile: int = non_negative()  # latent rows and columns; 0 = all
  tile_overlap: int = non_negative()  # latent rows and columns
  compute_dtype: str = one_of(*FLOATS)
  encoder: str = one_of('linear', 'conv', default='linear')
  head_features: int = non_negative(default=0)  # 0 = width
  noise: float = non_negative(default=0.3)  # standard deviation, at most
  keep_latents: bool = False

  def conflict(self, at: str) -> str:
    """Why tiles do not overlap as they should; '' if they do."""
    if self.tile and self.tile <= self.tile_overlap:
      return (
        f'{at}.tile is {self.tile}; it must be more than {at}.tile_overlap = '
        f'{self.tile_overlap}, or 0 for none'
      )
    return ''


@dataclasses.dataclass(frozen=True)
class TextConfig:
  name: str = one_of('hashed', 'umt5', 'transformers')
  words: int = positive()  # W
  features: int = positive()  # of one caption token
  folder: str
  actions: tuple[str, ...] = ()
  frames: int = positive(default=1)  # F, for actions and cameras
  camera: bool = False

  @property
  def steered(self) -> bool:
    """Whether prompts may steer single latent frames."""
    return bool(self.steering)

  @property
  def steering(self) -> tuple[str, ...]:
    """The names that may stand in the brackets of a prompt."""
    return self.actions + (CAMERA_KEYS if self.camera else ())

  @property
  def rows(self) -> int:
    """The tokens of a caption: W, and F more where actions are read."""
    return self.words + (self.frames if self.steered else 0)


def _is_patch(value: object) -> bool:
  return (
    isinstance(value, tuple)
    and len(value) == 3
    and value[0] == 1
    and min(value) > 0
  )


@dataclasses.dataclass(frozen=True)
class DiTConfig:
  layers: int = positive()  # L
  heads: int = positive()  # H
  head_features: int = multiple_of(2, 'since positions rotate pairs')  # K
  mlp_features: int = positive()  # G
  patch: tuple[int, int, int] = ruled(
    'be (1, rows, columns), since a token is of one latent frame', _is_patch
  )
  actions: int = non_negative()  # kinds of actions of single frames
  positions: tuple[int, int]  # rows, columns of a learnt table
  time_features: int = positive()  # of the sinusoid
  channels: int = positive()  # C
  text_features: int = positive()  # of one caption token
  epsilon: float = positive()  # of every norm
  compute_dtype: str = one_of(*FLOATS)
  remat: str = one_of('auto', 'none', 'dots', 'attention', 'full')
  attention: str = one_of('auto', 'xla', 'cudnn', 'splash')
  unroll: str = one_of('none', 'training', 'rollout', 'both')
  precision: str = one_of('compute', 'fp8', default='compute')  # of rollouts
  gate: bool = False  # of what is routed; mixing.py
  camera: tuple[float, float] = ruled(
    'be two focal lengths, or (0, 0)',
    lambda value: len(value) == 2 and (min(value) > 0 or not any(value)),
    (0.0, 0.0),
  )

  @property
  def steered(self) -> bool:
    """Whether captions end in a row for each latent frame."""
    return bool(self.actions) or any(self.camera)

  @property
  def features(self) -> int:
    """D = H K."""
    return self.heads * self.head_features
