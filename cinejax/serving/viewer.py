"""The queue of events and frames on their way to one viewer.

A film never waits for a viewer. Frames queue up to a limit, after which the
oldest are dropped. Events (prompts, and how the film runs) are small and few; a
viewer that leaves a hundred of them unread is given up. A Viewer lives on the
event loop; only `post` and `close` may be called by other threads.
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

  def __init__(
    self, loop: asyncio.AbstractEventLoop, image_format: str, max_frames: int
  ):
    """An empty queue.

    Args:
      loop: on which the queue is read.
      image_format: of its frames, jpeg or webp.
      max_frames: how many frames may wait.
    """
    self.image_format = image_format
    self.dropped = 0  # frames
    self.lost = False  # the viewer does not read any more
    self._loop, self._max_frames = loop, max_frames
    self._queue: collections.deque[str | bytes] = collections.deque()
    self._filled, self._drained = asyncio.Event(), asyncio.Event()
    self._closed = False

  def post(self, event: dict[str, Any], frames: Sequence[bytes] = ()) -> None:
    """Queues an event and its frames; returns at once."""
    try:
      self._loop.call_soon_threadsafe(self._put, event, frames)
    except RuntimeError:  # the loop has ended, and the viewer with it
      self.lost = True

  def close(self) -> None:
    """Ends the queue after what it holds."""
    try:
      self._loop.call_soon_threadsafe(self._close)
    except RuntimeError:
      self.lost = True

  async def reply(self, event: dict[str, Any]) -> None:
    """Queues an event like `post`, but waits while many are unread."""
    while len(self._queue) >= _MAX_EVENTS // 2 and not self.lost:
      self._drained.clear()
      await self._drained.wait()
    self._put(event, ())

  async def next(self) -> str | bytes | None:
    """The next message; None at the end of the queue."""
    while not self._queue:
      if self._closed or self.lost:
        return None
      self._filled.clear()
      await self._filled.wait()
    self._drained.set()
    return self._queue.popleft()

  def _put(self, event: dict[str, Any], frames: Sequence[bytes]) -> None:
    if self.lost:
      return
    waiting = sum(isinstance(message, bytes) for message in self._queue)
    if len(self._queue) - waiting >= _MAX_EVENTS:
      self.lost = True
      self._queue.clear()
    else:
      self._drop(waiting + len(frames) - self._max_frames)
      if event.get('type') == 'chunk':
        event = event | {'dropped': self.dropped}
      self._queue.append(json.dumps(event))
      self._queue.extend(frames)
    self._filled.set()

  def _drop(self, count: int) -> None:
    """Drops the `count` oldest frames."""
    if count < 1:
      return
    self.dropped += count
    remaining = []
    for message in self._queue:
      if isinstance(message, bytes) and count:
        count -= 1
      else:
        remaining.append(message)
    self._queue = collections.deque(remaining)

  def _close(self) -> None:
    self._closed = True
    self._filled.set()
