"""Films that an exam keeps, to be watched and put on contact sheets.

Small films are enlarged twice: H.264 keeps the colour of every second pixel
alone, and so they lose none.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from cinejax.film import media

_SMALL = 256  # pixels high
_SHEET = 128  # pixels high: no more of a film goes on a contact sheet


def film_path(folder: pathlib.Path, number: int) -> pathlib.Path:
  """Where film `number` of an exam is."""
  return folder / f'{number:03d}.mp4'


def write(path: pathlib.Path, video_TYXC: np.ndarray, fps: float) -> None:
  """uint8, perhaps on disk."""
  media.write_video(path, video_TYXC, fps, _scale(video_TYXC.shape[1]))


def read(
  path: pathlib.Path,
  height: int,
  width: int,
  spans: Sequence[tuple[int, int]],
) -> np.ndarray:
  """uint8 video_TYXC of a film of `height` x `width` pixels, or smaller.

  Pixels are those that were written, as far as H.264 keeps them; of a film
  that is larger than a contact sheet shows, a smaller picture. Frames outside
  of `spans`, [start, stop) in order, are black and take no memory.
  """
  large, step = height > _SHEET, _scale(height)
  size = (_SHEET, round(width * _SHEET / height)) if large else (height, width)
  video_TYXC = np.zeros((spans[-1][1], *size, 3), np.uint8)
  frames = media.read_frames(path, size=size if large else None)
  for number, frame_YXC in enumerate(frames):
    if any(start <= number < stop for start, stop in spans):
      part = slice(None) if large else slice(step // 2, None, step)
      video_TYXC[number] = frame_YXC[part, part]
  return video_TYXC


def _scale(height: int) -> int:
  return 2 if height < _SMALL else 1
