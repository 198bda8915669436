"""Generated films that an evaluation saves, to watch and for contact sheets.

Small films are enlarged twofold, because H.264 stores the colour of only every
second pixel of a row and of a column; enlarged films keep all their colours.
"""

import pathlib
from collections.abc import Iterator

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


def read(path: pathlib.Path, height: int, width: int) -> Iterator[np.ndarray]:
  """Yields the frames of a film that `write` saved, one in memory at a time.

  Args:
    path: the film.
    height: rows of the film before it was enlarged, pixels.
    width: columns, likewise.

  Yields:
    uint8 [Y, X, 3], scaled down to the height of a contact sheet's frames if
    the film is higher.
  """
  if height > _SHEET:
    size = (_SHEET, round(width * _SHEET / height))
    yield from media.read_frames(path, size=size)
    return
  step = _scale(height)
  for frame_YXC in media.read_frames(path):
    yield frame_YXC[step // 2 :: step, step // 2 :: step]


def _scale(height: int) -> int:
  return 2 if height < _SMALL else 1
