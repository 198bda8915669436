"""When the next chunk may be made, and when it should.

A film is on screen at its own rate. With s_n the time at which chunk n goes
on screen, m_n the time at which it is made, d_n how long it lasts:

  s_n = max(m_n, s_(n-1) + d_(n-1))                                        (1)

It is never more than `lead_chunks` ahead: chunk n may be begun once at most
lead_chunks - 1 made chunks have not gone on screen yet. Within that, the
later it is begun the fresher are the directions it obeys; so without a
direction that waits it is begun `reserve_secs` before it is due, with one at
once.
"""

import math


class PlaybackClock:
  """The clock of one film; times are seconds of any one clock."""

  def __init__(self, lead_chunks: int):
    self._lead = lead_chunks
    self.reset()

  def reset(self) -> None:
    """The film goes on from where it is put; nothing is ahead."""
    self._starts: list[float] = []  # of the last `lead` chunks
    self._end = -math.inf  # of the last chunk

  def add_chunk(self, now: float, secs: float) -> float:
    """A chunk of `secs` was made; -> when it goes on screen, eq. (1)."""
    start = max(now, self._end)
    self._end = start + secs
    self._starts = [*self._starts, start][-self._lead :]
    return start

  def start_at(self, waits: bool, reserve_secs: float) -> float:
    """When to begin the next chunk; `waits`: for it, a direction does."""
    may = self._starts[0] if len(self._starts) == self._lead else -math.inf
    return may if waits else max(may, self._end - reserve_secs)
