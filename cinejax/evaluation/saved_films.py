"""Generated films that an evaluation saves, to watch and for contact sheets.

Small films are enlarged twofold, because H.264 stores the colour of only every
second pixel of a row and of a column; enlarged films keep all their colours.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from cinejax.film import media

_SMALL = 256  # pixels high; smaller films are enlarged
_SHEET = 128  # pixels high; contact sheets show no larger frames


def film_path(folder: pathlib.Path, number: int) -> pathlib.Path:
  """The path of film `number` of an evaluation."""
  return folder / f'{number:03d}.mp4'


def write(path: pathlib.Path, video_TYXC: np.ndarray, fps: float) -> None:
  """Writes uint8 frames, which may be memory-mapped, as an MP4."""
  media.write_video(path, video_TYXC, fps, _scale(video_TYXC.shape[1]))


def read(
  path: pathlib.Path,
  height: int,
  width: int,
  spans: Sequence[tuple[int, int]],
) -> np.ndarray:
  """Reads the frames of `spans` from a film that `write` saved.

  Args:
    path: the film.
    height: rows of the film before it was enlarged, pixels.
    width: columns, likewise.
    spans: frames [start, stop) to read, in order.

  Returns:
    uint8 video_TYXC, scaled down to the height of a contact sheet's frames if
    the film is higher. Frames outside of `spans` are black and take no memory.
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
