"""The two halves of Wan's video autoencoders: which layers, and how they run.

Wan 2.1 has a list of layers, Wan 2.2 one group for each level (wan_layers.py).
Those of Wan 2.2 read and write blocks of 2 x 2 pixels, and its decoder is 8 / 5
as wide as its encoder (160 and 256 features).

Of the original's names, `conv1` and `conv2` of the whole, between the halves
and the latents, differ here: each is called `quant`, in its half.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from cinejax.models.codec.wan_layers import (
  Cache,
  Layer,
  run_layers,
)
from cinejax.models.config import CodecConfig

_WIDTHS = (1, 2, 4, 4)  # features of each level, in units of the half's width
_LAST = len(_WIDTHS) - 1  # the level that resamples nothing


def in_groups(cfg: CodecConfig) -> bool:
  """Whether the layers of a level are a group, as in Wan 2.2."""
  return cfg.name == 'wan22_vae'


def patch(cfg: CodecConfig) -> int:
  """Rows and columns of pixels that the halves see as one."""
  return 2 if in_groups(cfg) else 1


def encoder_layers(cfg: CodecConfig) -> tuple[Layer, ...]:
  """The layers from pixels to the mean and log-variance of latents."""
  widths = [cfg.width * unit for unit in _WIDTHS]
  levels = []
  for i, width in enumerate(widths):
    level = [('residual', width)] * cfg.blocks
    if i < _LAST:  # the first level does not halve time
      level.append(('half_time' if i else 'half', width))
    levels.append(level)
  return (
    Layer('conv1', 'causal', widths[0]),
    *_levels(cfg, 'downsamples', levels, ['average'] * len(levels)),
    *_middle(widths[-1]),
    Layer('head.0', 'norm', widths[-1]),
    Layer('head.2', 'causal', 2 * cfg.channels),
    Layer('quant', 'pointwise', 2 * cfg.channels),
  )


def decoder_layers(cfg: CodecConfig) -> tuple[Layer, ...]:
  """The layers from latents, not normalised, to pixels."""
  base = cfg.width * 8 // 5 if in_groups(cfg) else cfg.width
  widths = [base * unit for unit in reversed(_WIDTHS)]
  levels = []
  for i, width in enumerate(widths):
    level = [('residual', width)] * (cfg.blocks + 1)
    if i < _LAST:  # the last doubling leaves time as it is
      kind = 'double' if i == _LAST - 1 else 'double_time'
      level.append((kind, width if in_groups(cfg) else width // 2))
    levels.append(level)
  shortcuts = ['duplicate'] * _LAST + ['none']
  return (
    Layer('quant', 'pointwise', cfg.channels),
    Layer('conv1', 'causal', widths[0]),
    *_middle(widths[0]),
    *_levels(cfg, 'upsamples', levels, shortcuts),
    Layer('head.0', 'norm', widths[-1]),
    Layer('head.2', 'causal', 3 * patch(cfg) ** 2),
  )


def _levels(
  cfg: CodecConfig,
  name: str,
  levels: list[list[tuple[str, int]]],
  shortcuts: list[str],
) -> list[Layer]:
  """One list of layers, or a group for each level."""
  if not in_groups(cfg):
    return _numbered(name, [layer for level in levels for layer in level])
  return [
    Layer(f'{name}.{i}', shortcut, level[-1][1], tuple(_numbered(name, level)))
    for i, (level, shortcut) in enumerate(zip(levels, shortcuts, strict=True))
  ]


def _numbered(name: str, layers: list[tuple[str, int]]) -> list[Layer]:
  return [Layer(f'{name}.{i}', *layer) for i, layer in enumerate(layers)]


def _middle(width: int) -> list[Layer]:
  kinds = ('residual', 'attention', 'residual')
  return _numbered('middle', [(kind, width) for kind in kinds])


class Coder(nn.Module):
  """One half: applies its layers to frames [B, T, Y, X, D] and caches."""

  layers: tuple[Layer, ...]
  dtype: str  # of computation; parameters are float32

  @nn.compact
  def __call__(
    self, x_BTYXD: jax.Array, caches: Cache, first: bool
  ) -> tuple[jax.Array, Cache]:
    """`first` is static: True for a film's first frame, which comes alone."""
    x_BTYXD, caches = run_layers(
      self.layers, self.dtype, x_BTYXD.astype(self.dtype), caches, first
    )
    return x_BTYXD.astype(jnp.float32), caches
