"""Films that an exam keeps, to be watched and put on contact sheets.

Small films are enlarged twice: H.264 keeps the colour of every second pixel
alone, and so they lose none.
"""

import pathlib

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


def read(path: pathlib.Path, height: int, width: int) -> np.ndarray:
  """uint8 video_TYXC of a film of `height` x `width` pixels, or smaller.

  Pixels are those that were written, as far as H.264 keeps them; of a film
  that is larger than a contact sheet shows, a smaller picture.
  """
  if height > _SHEET:
    size = (_SHEET, round(width * _SHEET / height))
    return media.read_video(path, size=size)
  step = _scale(height)
  frames = media.read_frames(path)
  return np.stack(
    [frame[step // 2 :: step, step // 2 :: step] for frame in frames]
  )


def _scale(height: int) -> int:
  return 2 if height < _SMALL else 1
