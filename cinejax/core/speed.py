"""How fast chunks of pixels come out.

With t_c the time at which the frames of chunk c are on the host, n_c their
number and N chunks:

  first_chunk_secs = t_0, compilation included                            (1)
  pixel_fps = sum over c > 1 of n_c / (t_{N-1} - t_1)                     (2)

By t_0 everything is compiled, and the device is then one chunk ahead; from
t_1 on it is in step with what comes out. Whatever the host does with the
frames (an MP4, say) counts as well.
"""

import time
from collections.abc import Callable


class SpeedMeter:
  """A clock that runs from its making; `mark` at every chunk."""

  def __init__(self, now: Callable[[], float] = time.perf_counter):
    self._now, self._start = now, now()
    self._marks: list[tuple[float, int]] = []

  def mark(self, frames: int) -> None:
    """The `frames` pixel frames of the next chunk (of all films) are here."""
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
