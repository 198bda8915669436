"""Actions of single latent frames, written after a prompt.

A prompt such as

  Ada walks in the forest, wide shot [left|left|left jump]

gives the actions of each latent frame of a chunk: between bars stand the names
in config.text.actions that hold in it: none, one or several. The last entry
holds up to the end of the chunk; a prompt without brackets has no actions.

An encoded prompt then has F rows more than W. Row W + f is 1 at feature a if
action a holds in frame f. The DiT adds an embedding of the row to the tokens of
that frame; its cross-attention does not see the row. Actions can therefore
stand wherever prompts stand: in data sets, screenplays and live directions.
(Causal Forcing++, section on interactive world models: per-frame actions as an
added embedding.)
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cinejax.core.errors import UserError

_BRACKETS = re.compile(r'\s*\[([^\[\]]*)\]\s*$')


def write(prompt: str, actions: Sequence[Sequence[str]]) -> str:
  """Appends the names of each latent frame's actions to a prompt."""
  return f'{prompt} [{"|".join(" ".join(names) for names in actions)}]'


def read(prompt: str) -> tuple[str, list[list[str]]]:
  """Splits a prompt into its text and the actions of each listed frame."""
  found = _BRACKETS.search(prompt)
  if found is None:
    return prompt, []
  return prompt[: found.start()], [e.split() for e in found[1].split('|')]


class SteeredText:
  """A text encoder whose encoded prompts end in F rows of actions."""

  def __init__(self, text: Any, actions: Sequence[str], frames: int):
    """`text` encodes prompts without their actions; `frames` is F."""
    self._text, self._actions, self._frames = text, tuple(actions), frames

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W + F, D]; UserError for unknown actions."""
    bare, actions = zip(*(read(prompt) for prompt in prompts), strict=True)
    text_nWD = self._text.encode(bare)
    rows_nFD = np.zeros(
      (len(prompts), self._frames, text_nWD.shape[-1]), np.float32
    )
    for row in zip(rows_nFD, prompts, actions, strict=True):
      self._fill(*row)
    return np.concatenate([text_nWD, rows_nFD], 1)

  def count(self, prompt: str) -> int:
    """The tokens of a prompt without its actions."""
    return self._text.count(read(prompt)[0])

  def _fill(self, rows_FD, prompt: str, actions: list[list[str]]) -> None:
    if len(actions) > self._frames:
      raise UserError(
        f'{prompt!r} has actions for {len(actions)} latent frames; a chunk has '
        f'{self._frames}'
      )
    for frame in range(self._frames if actions else 0):
      for name in actions[min(frame, len(actions) - 1)]:
        rows_FD[frame, self._number(prompt, name)] = 1

  def _number(self, prompt: str, name: str) -> int:
    if name not in self._actions:
      raise UserError(
        f'{prompt!r} names an action {name}; this model takes '
        f'{", ".join(self._actions)}'
      )
    return self._actions.index(name)
