"""Actions and camera moves of single latent frames, written after a prompt.

A prompt such as

  Ada walks in the forest, wide shot [left|left|left jump]

gives the actions of each latent frame of a chunk: between bars stand the names
in config.text.actions that hold in it: none, one or several, such as keys of a
keyboard. A name may have a value other than 1, such as the way of a mouse:
`[w mouse_x=0.3|w]`. The last entry holds up to the end of the chunk; a prompt
without brackets has no actions.

With config.text.camera the keys of models/camera.py are moves of the camera,
`[w|w j|j=0.5]`, which are made in each frame of an entry.

An encoded prompt then has F rows more than W. Row W + f has the value of action
a in frame f at feature a, and behind the actions the pose of the camera. The
DiT adds embeddings of the row to the tokens of that frame; its cross-attention
does not see the row. Actions can therefore stand wherever prompts stand: in
data sets, screenplays and live directions. (Causal Forcing++, section on
interactive world models: per-frame actions as an added embedding.)
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cinejax.core.errors import UserError
from cinejax.models import camera
from cinejax.models.config import POSE

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

  def __init__(
    self,
    text: Any,
    actions: Sequence[str],
    frames: int,
    has_camera: bool = False,
  ):
    """`text` encodes prompts without their actions; `frames` is F."""
    self._text, self._actions, self._frames = text, tuple(actions), frames
    self._has_camera = has_camera

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
    moves: list[dict[str, float]] = [{} for _ in range(self._frames)]
    for frame in range(self._frames if actions else 0):
      for entry in actions[min(frame, len(actions) - 1)]:
        name, value = self._value(prompt, entry)
        if self._has_camera and name in camera.MOVES:
          moves[frame][name] = moves[frame].get(name, 0.0) + value
        else:
          rows_FD[frame, self._number(prompt, name)] = value
    if self._has_camera:
      start = len(self._actions)
      rows_FD[:, start : start + POSE] = camera.poses(moves)

  def _value(self, prompt: str, entry: str) -> tuple[str, float]:
    """The name of an entry, and its value."""
    name, equals, text = entry.partition('=')
    try:
      value = float(text) if equals else 1.0
    except ValueError:
      value = math.nan
    if not math.isfinite(value):
      raise UserError(
        f'{prompt!r} has {entry}; a value is a number, as in {name}=0.5'
      )
    return name, value

  def _number(self, prompt: str, name: str) -> int:
    if name not in self._actions:
      known = [*self._actions, *(camera.MOVES if self._has_camera else ())]
      raise UserError(
        f'{prompt!r} names an action {name}; this model takes '
        f'{", ".join(known)}'
      )
    return self._actions.index(name)
