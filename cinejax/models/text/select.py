"""Chooses the text encoder that a config names."""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from cinejax.core.errors import UserError
from cinejax.models.config import TextConfig
from cinejax.models.text import transformers
from cinejax.models.text.actions import SteeredText
from cinejax.models.text.hashed import HashedText
from cinejax.models.text.prompts import CachedText

NAMES = ('hashed', 'umt5', 'transformers')


class Text(Protocol):
  """A text encoder; its results are on the host."""

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W, D], zeros after the last token."""
    ...

  def count(self, prompt: str) -> int:
    """The tokens of a prompt, of which the first W are encoded."""
    ...


def make_text(
  cfg: TextConfig,
  umt5_fn: Callable[[str], np.ndarray] | None = None,
  count_fn: Callable[[str], int] | None = None,
) -> Text:
  """The text encoder that `cfg.name` names.

  `umt5_fn` is that of UMT5, prompt -> [w, D], and `count_fn` counts tokens;
  interop/texts.py makes them from weights and a tokenizer. Raises UserError if
  there is no such encoder, or if umt5 is named without `umt5_fn`.
  """
  text = _encoder(cfg, umt5_fn, count_fn)
  if not cfg.steered:
    return text
  return SteeredText(text, cfg.actions, cfg.frames, cfg.camera)


def _encoder(cfg: TextConfig, umt5_fn, count_fn) -> Text:
  match cfg.name:
    case 'hashed':
      return HashedText(cfg.words, cfg.features)
    case 'umt5' if umt5_fn:
      return CachedText(umt5_fn, cfg.words, cfg.features, count_fn=count_fn)
    case 'transformers':
      encode_fn = transformers.make_encode_fn(cfg.folder, cfg.words)
      count_fn = transformers.make_count_fn(cfg.folder)
      return CachedText(encode_fn, cfg.words, cfg.features, count_fn=count_fn)
  raise UserError(
    f'config.text.name is {cfg.name}; it must be one of {", ".join(NAMES)}'
  )
