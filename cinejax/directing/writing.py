"""Writes the MP4 of a film while it is generated.

Every frame goes to the encoder, and to those that measure or show the film, as
soon as its chunk arrives; no more than a chunk or two is held.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import numpy as np

from cinejax.core.speed import SpeedMeter
from cinejax.directing import opening
from cinejax.directing.cast import GivenPicture
from cinejax.directing.director import Director
from cinejax.directing.progress import ChunkProgress
from cinejax.film import media
from cinejax.film.journal import ChunkPrompt
from cinejax.rollout.state import ChunkOutput


def write_film(
  director: Director,
  chunk_prompts: Iterable[ChunkPrompt],
  path: str | os.PathLike,
  seed: int,
  given_BFYXC: jax.Array | None = None,
  *,
  total: int | None = None,
  viewers: Sequence[Callable[[np.ndarray], None]] = (),
  observe: Callable[[ChunkOutput], None] = lambda output: None,
  cast: Sequence[GivenPicture] = (),
) -> SpeedMeter:
  """Generates a film and writes its MP4, completely or not at all.

  Args:
    director: generates the film.
    chunk_prompts: of each chunk, drawn as they are needed.
    path: of the MP4.
    seed: of the noise.
    given_BFYXC: the latents with which the film begins.
    total: the number of chunks, None if it is unknown.
    viewers: each gets every frame, uint8 [Y, X, 3].
    observe: called with the output of each chunk that is generated.
    cast: pictures that the memory of the film begins with.

  Returns:
    The speed at which the film was generated.
  """
  batches = ([prompt] for prompt in chunk_prompts)  # of one film
  rolled = director.roll(batches, [seed], given_BFYXC, observe, cast)
  given = opening.given_chunks(director, given_BFYXC)
  return write_chunks(
    director, rolled, path, given=given, total=total, viewers=viewers
  )


def write_chunks(
  director: Director,
  rolled: Iterable[np.ndarray],
  path: str | os.PathLike,
  *,
  given: int = 0,
  total: int | None = None,
  viewers: Sequence[Callable[[np.ndarray], None]] = (),
) -> SpeedMeter:
  """Like `write_film`, from chunks that are generated as they are drawn.

  Args:
    director: of the film.
    rolled: uint8 [1, T, Y, X, 3] of each chunk.
    path: of the MP4.
    given: how many chunks were given, whose time is not measured.
    total: the number of chunks, None if it is unknown.
    viewers: each gets every frame, uint8 [Y, X, 3].

  Returns:
    The speed at which the film was generated.
  """
  speed, fps = SpeedMeter(), director.cfg.film.fps
  frames = _frames(rolled, given, speed, viewers, total)
  scale = media.watchable_scale(director.cfg.film.height)
  media.write_video(path, frames, fps, scale=scale)
  return speed


def _frames(
  rolled: Iterable[np.ndarray],
  given: int,
  speed: SpeedMeter,
  viewers: Sequence[Callable[[np.ndarray], None]],
  total: int | None,
) -> Iterator[np.ndarray]:
  """Yields the frames of a film, under a progress bar.

  Args:
    rolled: uint8 [1, T, Y, X, 3] of each chunk.
    given: how many chunks were given, whose time is not measured.
    speed: measures the other chunks.
    viewers: each gets every frame.
    total: the number of chunks, None if it is unknown.
  """
  with ChunkProgress(total) as progress:
    for number, video_BTYXC in enumerate(rolled):
      if number >= given:
        speed.mark(len(video_BTYXC[0]))
      progress.advance(speed.pixel_fps)
      for frame_YXC in video_BTYXC[0]:
        for view in viewers:
          view(frame_YXC)
        yield frame_YXC
