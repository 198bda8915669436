"""Actions of single frames, said after a prompt and read beside it.

  Ada walks in the forest, wide shot [left|left|left jump]

steers each latent frame of a chunk: what stands between bars are the names of
config.text.actions that hold in it, none, one or several. The last entry holds
to the chunk's end; a prompt without brackets steers nothing.

A caption then has F more rows than words. Row W + f is 1 at feature a where
action a holds in frame f; the DiT adds an embedding of it to that frame's
tokens, and its cross-attention does not see it. So actions go wherever prompts
go: into data sets, screenplays and live directions. (Causal Forcing++, section
on interactive world models: per-frame actions as an added embedding.)
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cinejax.core.errors import UserError

_SAID = re.compile(r'\s*\[([^\[\]]*)\]\s*$')


def write(prompt: str, said: Sequence[Sequence[str]]) -> str:
  """The prompt with the actions `said` of each latent frame."""
  return f'{prompt} [{"|".join(" ".join(names) for names in said)}]'


def read(prompt: str) -> tuple[str, list[list[str]]]:
  """The bare prompt, and the actions of each latent frame that is named."""
  found = _SAID.search(prompt)
  if found is None:
    return prompt, []
  return prompt[: found.start()], [e.split() for e in found[1].split('|')]


class SteeredText:
  """A text encoder whose captions end in F rows of actions."""

  def __init__(self, text: Any, actions: Sequence[str], frames: int):
    """`text` encodes what is left of a prompt; `frames` = F."""
    self._text, self._actions, self._frames = text, tuple(actions), frames

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W + F, D]; UserError for unknown actions."""
    bare, said = zip(*(read(prompt) for prompt in prompts), strict=True)
    text_nWD = self._text.encode(bare)
    rows_nFD = np.zeros(
      (len(prompts), self._frames, text_nWD.shape[-1]), np.float32
    )
    for rows_FD, prompt, names in zip(rows_nFD, prompts, said, strict=True):
      self._fill(rows_FD, prompt, names)
    return np.concatenate([text_nWD, rows_nFD], 1)

  def _fill(self, rows_FD, prompt: str, said: list[list[str]]) -> None:
    if len(said) > self._frames:
      raise UserError(
        f'{prompt!r} has actions for {len(said)} latent frames; a chunk has '
        f'{self._frames}'
      )
    for frame in range(self._frames if said else 0):
      for name in said[min(frame, len(said) - 1)]:
        rows_FD[frame, self._number(prompt, name)] = 1

  def _number(self, prompt: str, name: str) -> int:
    if name not in self._actions:
      raise UserError(
        f'{prompt!r} names an action {name}; this model takes '
        f'{", ".join(self._actions)}'
      )
    return self._actions.index(name)
