"""What is on its way to one viewer, and what is dropped if that is slow.

The film never waits for a viewer. Frames queue up to a limit, and the oldest
leaves; events (what was said, how the film runs) are small and few, and a
viewer who lets a hundred of them lie has gone. Lives on the event loop;
`post` alone may be called by any thread.
"""

import asyncio
import collections
import json
import struct
from collections.abc import Sequence
from typing import Any

_MAX_EVENTS = 100
HEADER = struct.Struct('>II')  # revision, pixel frame of the film


class Viewer:
  """A bounded queue of str (events) and bytes (frames)."""

  def __init__(self, loop: asyncio.AbstractEventLoop, kind: str, frames: int):
    """`kind` of image: jpeg | webp; `frames` that may wait."""
    self.kind = kind
    self.dropped = 0  # frames
    self.lost = False  # it takes nothing any more
    self._loop, self._max_frames = loop, frames
    self._queue: collections.deque[str | bytes] = collections.deque()
    self._some, self._space = asyncio.Event(), asyncio.Event()
    self._closed = False

  def post(self, event: dict[str, Any], frames: Sequence[bytes] = ()) -> None:
    """An event and its frames; returns at once."""
    try:
      self._loop.call_soon_threadsafe(self._put, event, frames)
    except RuntimeError:  # the loop has ended, and the viewer with it
      self.lost = True

  def close(self) -> None:
    """After what is in the queue, no more."""
    try:
      self._loop.call_soon_threadsafe(self._shut)
    except RuntimeError:
      self.lost = True

  async def answer(self, event: dict[str, Any]) -> None:
    """Like `post`, but whoever asks faster than it is sent has to wait."""
    while len(self._queue) >= _MAX_EVENTS // 2 and not self.lost:
      self._space.clear()
      await self._space.wait()
    self._put(event, ())

  async def next(self) -> str | bytes | None:
    """What to send; None: nothing will come."""
    while not self._queue:
      if self._closed or self.lost:
        return None
      self._some.clear()
      await self._some.wait()
    self._space.set()
    return self._queue.popleft()

  def _put(self, event: dict[str, Any], frames: Sequence[bytes]) -> None:
    if self.lost:
      return
    waiting = sum(isinstance(one, bytes) for one in self._queue)
    if len(self._queue) - waiting >= _MAX_EVENTS:
      self.lost = True
      self._queue.clear()
    else:
      self._drop(waiting + len(frames) - self._max_frames)
      if event.get('type') == 'chunk':
        event = event | {'dropped': self.dropped}
      self._queue.append(json.dumps(event))
      self._queue.extend(frames)
    self._some.set()

  def _drop(self, count: int) -> None:
    """The `count` oldest frames."""
    if count < 1:
      return
    self.dropped += count
    remaining = []
    for one in self._queue:
      if isinstance(one, bytes) and count:
        count -= 1
      else:
        remaining.append(one)
    self._queue = collections.deque(remaining)

  def _shut(self) -> None:
    self._closed = True
    self._some.set()
