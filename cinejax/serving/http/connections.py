"""Connections that hold nobody else up.

uvicorn waits without end for a connection that sends no request, or half of
one, and for a client that does not take its answer. Here each has
config.serving.request_secs for either. When there are more than
config.serving.connections, the one that has been idle longest is closed in
favour of the new one; if all are at work, the new one is. WebSockets have
limits of their own (viewers of a session, viewer.py) and are not counted.
"""

import asyncio
import resource
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_OTHER_FILES = 512  # that a server opens beside its connections, at most


class Limits:
  """The open connections of a server, those idle longest first."""

  def __init__(self, connections: int, secs: float):
    """No connection yet.

    Args:
      connections: how many there may be.
      secs: how long one may take to send a request or to take an answer.
    """
    self.connections, self.secs = connections, secs
    self.open: dict[LimitedProtocol, None] = {}

  def add(self, new: 'LimitedProtocol') -> None:
    """Adds a connection, and closes one if there are too many."""
    self.open[new] = None
    if len(self.open) > self.connections:
      idle = (one for one in self.open if one.idle and one is not new)
      surplus = next(idle, new)
      self.open.pop(surplus)
      surplus.transport.abort()

  def touch(self, one: 'LimitedProtocol') -> None:
    """Puts a connection behind all others."""
    if one in self.open:
      del self.open[one]
      self.open[one] = None

  def remove(self, one: 'LimitedProtocol') -> None:
    self.open.pop(one, None)


class LimitedProtocol(H11Protocol):
  """HTTP of one connection; `limited` makes it a class with limits."""

  limits: Limits

  def __init__(self, *args: Any, **kwargs: Any):
    super().__init__(*args, **kwargs)
    self._idle_since = self.loop.time()
    self._stalled_since: float | None = None
    self._timer: asyncio.TimerHandle | None = None

  @property
  def idle(self) -> bool:
    """Whether no whole request has arrived that is not answered yet."""
    cycle = self.cycle
    return cycle is None or cycle.response_complete or cycle.more_body

  def connection_made(self, transport: Any) -> None:
    super().connection_made(transport)
    self._watch()
    self.limits.add(self)

  def connection_lost(self, exc: Exception | None) -> None:
    self._forget()
    super().connection_lost(exc)

  def handle_websocket_upgrade(self, event: Any) -> None:
    self._forget()
    super().handle_websocket_upgrade(event)

  def on_response_complete(self) -> None:
    self._idle_since = self.loop.time()
    self.limits.touch(self)
    super().on_response_complete()

  def pause_writing(self) -> None:
    self._stalled_since = self.loop.time()
    super().pause_writing()

  def resume_writing(self) -> None:
    self._stalled_since = None
    super().resume_writing()

  def _watch(self) -> None:
    """Closes the connection if it is too slow, and else looks again later."""
    since = self._idle_since if self.idle else self._stalled_since
    late = since is not None and self.loop.time() - since >= self.limits.secs
    if late:
      self.transport.abort()
    else:
      self._timer = self.loop.call_later(self.limits.secs / 4, self._watch)

  def _forget(self) -> None:
    self.limits.remove(self)
    if self._timer is not None:
      self._timer.cancel()


def limited(connections: int, secs: float) -> type[LimitedProtocol]:
  """The protocol of a server, for uvicorn's `http`; see Limits."""

  class Protocol(LimitedProtocol):
    limits = Limits(connections, secs)

  return Protocol


def raise_file_limit(connections: int) -> None:
  """Lets this process open so many connections, as far as the system does."""
  soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
  wanted = connections + _OTHER_FILES
  if soft != resource.RLIM_INFINITY and soft < wanted:
    if hard != resource.RLIM_INFINITY:
      wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
