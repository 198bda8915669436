"""Measures how fast chunks of pixels are generated.

With t_c the time at which the frames of chunk c are on the host, n_c their
number, and N chunks:

  first_chunk_secs = t_0, compilation included                            (1)
  pixel_fps = sum over c > 1 of n_c / (t_{N-1} - t_1)                     (2)

At t_0 everything is compiled, and the device is one chunk ahead; from t_1 on
the device produces chunks at the rate at which they arrive. Time in which the
host processes frames (writes an MP4, for example) is included.
"""

import time
from collections.abc import Callable


class SpeedMeter:
  """Measures from its construction on; call `mark` after every chunk."""

  def __init__(self, now: Callable[[], float] = time.perf_counter):
    self._now, self._start = now, now()
    self._marks: list[tuple[float, int]] = []

  def mark(self, frames: int) -> None:
    """Records that the next chunk has arrived, with `frames` of all films."""
    self._marks.append((self._now() - self._start, frames))

  @property
  def first_chunk_secs(self) -> float | None:
    """Eq. (1); None before the first chunk."""
    return self._marks[0][0] if self._marks else None

  @property
  def pixel_fps(self) -> float | None:
    """Eq. (2); None before the third chunk."""
    if len(self._marks) < 3:
      return None
    frames = sum(count for _, count in self._marks[2:])
    return frames / (self._marks[-1][0] - self._marks[1][0])
