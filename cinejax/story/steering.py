"""What happens in each latent frame of a story film, as actions to steer by.

left, right  the character moves so;   jump  she is off the ground
camera       the camera travels

A latent frame stands for the `stride` pixel frames that end at its own (the
first for one alone); an action holds if it does in most of them. Prompts of
steered films leave to the actions what the character does.
"""

from collections.abc import Sequence

import numpy as np

from cinejax.story import motion, world

ACTIONS = ('left', 'right', 'jump', 'camera')
_STILL = 1e-3  # pixels


def steer(
  film: world.StoryFilm, frames_per_chunk: int = 3, stride: int = 4
) -> list[list[str]]:
  """The names of ACTIONS that hold, for each latent frame of the film."""
  states = motion.describe(film, frames_per_chunk, stride)
  holds_TA = np.stack(
    [
      states.gaze < 0,
      states.gaze > 0,
      states.lift > _STILL,
      _travels(states.offset),
    ],
    1,
  )
  shares = [
    holds_TA[max(0, last - stride + 1) : last + 1].mean(0)
    for last in range(0, len(holds_TA), stride)
  ]
  return [
    [name for name, share in zip(ACTIONS, share_A, strict=True) if share > 0.5]
    for share_A in shares
  ]


def bare_prompt(film: world.StoryFilm, chunk: int, prompt: str) -> str:
  """The prompt of a chunk without the word for what the character does."""
  segment = film.segments[film.chunk_segments()[chunk]]
  return prompt.replace(f' {world.ACTIONS[segment.action]} ', ' is ', 1)


def chunk_actions(
  said: Sequence[list[str]], frames_per_chunk: int
) -> list[Sequence[list[str]]]:
  """The latent frames' actions, chunk by chunk."""
  return [
    said[start : start + frames_per_chunk]
    for start in range(0, len(said), frames_per_chunk)
  ]


def _travels(offset_T: np.ndarray) -> np.ndarray:
  """Whether the camera is on its way to the next frame; at a cut, where it
  starts anew, as in the frame before."""
  step_T = np.append(np.diff(offset_T), -1.0)
  for t in np.flatnonzero(step_T < 0):
    step_T[t] = step_T[t - 1]
  return step_T > _STILL
