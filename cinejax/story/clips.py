"""Short clips of story films, painted on demand, to train a codec on.

A clip takes about a millisecond, since only its own frames are painted, so
nothing is stored. Clip i is cut from film i mod n and starts at a frame drawn
from the seed and i. That frame is always the last of a latent frame, so that a
cut to another shot falls between two latent frames, as in a whole film.
"""

from typing import SupportsIndex

import jax
import numpy as np

from cinejax.story import casting, motion, render

_CLIPS_PER_FILM = 8  # clips with different starts in an epoch


class StoryClips:
  """A sequence of clips, uint8 [clip_frames, 64, 64, 3]."""

  def __init__(
    self,
    seed: int,
    films: int,
    clip_frames: int,
    *,
    kind: str = 'train',
    frames_per_chunk: int = 3,
    stride: int = 4,
  ):
    """Clips of the first `films` films of `casting.cast(kind, seed, index)`.

    Args:
      seed: of the films and of the clips' starts.
      films: how many films clips are cut from.
      clip_frames: pixel frames of a clip. A shorter film holds its last frame.
      kind: of films, one of casting.KINDS.
      frames_per_chunk: F, latent frames of a chunk.
      stride: pixel frames of a latent frame.
    """
    self._seed, self._films, self._kind = seed, films, kind
    self._clip_frames = clip_frames
    self._timing = frames_per_chunk, stride
    self._paint = jax.jit(render.paint)

  def __len__(self) -> int:
    return self._films * _CLIPS_PER_FILM

  def __getitem__(self, index: SupportsIndex) -> np.ndarray:
    index = index.__index__()
    film = casting.cast(self._kind, self._seed, index % self._films)
    states = motion.describe(film, *self._timing)
    missing = max(0, self._clip_frames - len(states.x))
    rng = np.random.default_rng([self._seed, index])
    last_start = len(states.x) + missing - self._clip_frames
    stride = self._timing[1]
    start = stride * rng.integers(last_start // stride + 1)
    clip = motion.Frames(
      *(
        np.pad(array, (0, missing), 'edge')[start : start + self._clip_frames]
        for array in states
      )
    )
    return np.asarray(self._paint(clip))

  def __repr__(self) -> str:
    return f'StoryClips(films={self._films}, frames={self._clip_frames})'
