"""Decides when the next chunk of a film may start, and when it should.

A film plays at its own rate. Let s_n be the time at which chunk n goes on
screen, m_n the time at which it is finished, and d_n its duration:

  s_n = max(m_n, s_(n-1) + d_(n-1))                                        (1)

A film is never more than `lead_chunks` ahead of the screen: chunk n may start
once at most lead_chunks - 1 finished chunks are not on screen yet. Within this
limit a chunk should start late, because it then follows newer directions.
Without a waiting direction it therefore starts `reserve_secs` before it has to
be on screen, and with one it starts at once.
"""

import math


class PlaybackClock:
  """The playback times of one film, in seconds of any one clock."""

  def __init__(self, lead_chunks: int):
    self._lead = lead_chunks
    self.reset()

  def reset(self) -> None:
    """Forgets all chunks: the next one goes on screen when it is finished."""
    self._starts: list[float] = []  # s_n of the last `lead` chunks
    self._end = -math.inf  # when the last chunk leaves the screen

  def add_chunk(self, now: float, secs: float) -> float:
    """Adds a finished chunk of `secs` and returns its s_n, eq. (1)."""
    start = max(now, self._end)
    self._end = start + secs
    self._starts = [*self._starts, start][-self._lead :]
    return start

  def start_at(self, direction_waits: bool, reserve_secs: float) -> float:
    """The time at which the next chunk should start.

    Args:
      direction_waits: whether a direction waits for the next chunk.
      reserve_secs: the time that generating a chunk takes.
    """
    may = self._starts[0] if len(self._starts) == self._lead else -math.inf
    return may if direction_waits else max(may, self._end - reserve_secs)
