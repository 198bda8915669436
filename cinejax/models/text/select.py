"""Which text encoder a config asks for."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from cinejax.core.errors import UserError
from cinejax.models.config import TextConfig
from cinejax.models.text.hashed import HashedText


class Text(Protocol):
  """Prompts to caption tokens, on the host."""

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W, D], zeros after the last token."""
    ...


def make_text(cfg: TextConfig) -> Text:
  """The encoder named by `cfg.name`."""
  if cfg.name == 'hashed':
    return HashedText(cfg.words, cfg.features)
  raise UserError(f'config.text.name is {cfg.name}; it must be hashed')
