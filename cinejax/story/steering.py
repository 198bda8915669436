"""The actions in each latent frame of a story film, for steered models.

  left, right  the character moves in that direction
  jump         the character is off the ground
  camera       the camera travels

A latent frame stands for `stride` pixel frames, of which it is the last; the
first one stands for one. An action holds if it holds in most of them. In
prompts of steered films, the actions replace the word for what the character
does.
"""

from collections.abc import Sequence

import numpy as np

from cinejax.film.journal import ChunkPrompt
from cinejax.models.text import actions
from cinejax.story import motion, world

ACTIONS = ('left', 'right', 'jump', 'camera')
_STILL = 1e-3  # pixels


def steer(
  film: world.StoryFilm, frames_per_chunk: int = 3, stride: int = 4
) -> list[list[str]]:
  """The names of the ACTIONS that hold in each latent frame of the film."""
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


def steered_prompts(
  film: world.StoryFilm,
  prompts: Sequence[ChunkPrompt],
  frames_per_chunk: int = 3,
  stride: int = 4,
) -> tuple[ChunkPrompt, ...]:
  """The prompts of the film's chunks, with actions for the action word."""
  done = steer(film, frames_per_chunk, stride)
  segments = film.chunk_segments()

  def chunk(i: int) -> ChunkPrompt:
    action = world.ACTIONS[film.segments[segments[i]].action]
    bare = prompts[i].prompt.replace(f' {action} ', ' is ', 1)
    own = done[i * frames_per_chunk : (i + 1) * frames_per_chunk]
    return prompts[i]._replace(prompt=actions.write(bare, own))

  return tuple(chunk(i) for i in range(len(prompts)))


def _travels(offset_T: np.ndarray) -> np.ndarray:
  """Whether the camera travels from each frame to the next.

  At a cut, where the offset starts again, the answer is that of the frame
  before.
  """
  step_T = np.append(np.diff(offset_T), -1.0)
  for t in np.flatnonzero(step_T < 0):
    step_T[t] = step_T[t - 1]
  return step_T > _STILL
