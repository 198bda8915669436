"""The sessions of one server, and what happens to one under the lock.

Whoever calls a method holds `changed`; whoever waits on it is the maker.
"""

import logging
import pathlib
import threading
from collections.abc import Callable
from typing import Any

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.serving.budget import model_name
from cinejax.serving.film.archive import Archive
from cinejax.serving.film.live_film import Reel
from cinejax.serving.session import Session

_LEFT_SECS = 15.0  # a film that stands so long may make room for another


class Missing(UserError):
  """There is no such session."""


class Full(UserError):
  """The server has no room for it."""


class Room:
  """Sessions by name."""

  def __init__(
    self,
    director: Director,
    folder: pathlib.Path,
    clock: Callable[[], float],
  ):
    self.director, self.cfg = director, director.cfg.serving
    self.clock = clock
    self.changed = threading.Condition(threading.RLock())
    self.sessions: dict[str, Session] = {}
    self.closing = False
    folder.mkdir(parents=True, exist_ok=True)
    self._folder = folder
    self.archive = Archive(
      folder, model_name(director), self.cfg.saved_sessions
    )

  def find(self, name: str) -> Session:
    """Somebody asks for it, so it is not idle."""
    session = self.sessions.get(name)
    if session is None:
      raise Missing('there is no such session; it may have been saved')
    session.seen = self.clock()
    return session

  def new_reel(self, seed: int) -> Reel:
    """A film that has not begun."""
    return Reel(self.director, seed, self.cfg.kept_states, self._folder)

  def check_room(self) -> None:
    if self.closing:
      raise Full('the server is closing')
    if len(self.sessions) >= self.cfg.sessions and not self._make_room():
      raise Full(
        f'all {self.cfg.sessions} sessions are taken; close one or come back'
      )

  def _make_room(self) -> bool:
    """Saves and frees the film that was left longest ago, if one was."""
    before = self.clock() - _LEFT_SECS
    left = [
      session
      for session in self.sessions.values()
      if not session.viewers
      and not session.rolling
      and session.can_leave
      and session.seen < before
    ]
    if not left:
      return False
    oldest = min(left, key=lambda session: session.seen)
    self.save(oldest)
    self.drop(oldest, {'type': 'saved', 'id': oldest.name})
    return True

  def add(self, reel: Reel, title: str, name: str = '') -> Session:
    self.check_room()
    timeline = self.director.timeline
    session = Session(reel, self.cfg, timeline, self.clock(), title, name)
    self.sessions[session.name] = session
    return session

  def tell(self, session: Session) -> None:
    """Viewers see how the session stands; the maker looks again."""
    if session.viewers:
      self.post(session, session.told())
    self.changed.notify_all()

  def post(self, session: Session, event: dict[str, Any]) -> None:
    for viewer in session.viewers:
      viewer.post(event)

  def leave(self, session: Session, event: dict[str, Any]) -> None:
    """Sends its viewers away."""
    self.post(session, event)
    for viewer in session.viewers:
      viewer.close()
    session.viewers = []

  def drop(self, session: Session, event: dict[str, Any]) -> None:
    """Frees it."""
    self.sessions.pop(session.name, None)
    self.leave(session, event)

  def fail(self, session: Session, error: Exception) -> None:
    """Ends this session alone, its journal saved."""
    logging.error('session %s failed', session.name, exc_info=error)
    session.end('failed', f'a chunk could not be made ({error})')
    self.save_journal(session)
    self.tell(session)

  def save(self, session: Session) -> None:
    """A disk that is full must not end the film."""
    try:
      self.archive.save(
        session.name, session.reel, session.film(), session.planned()
      )
    except OSError:
      logging.exception('cannot save session %s', session.name)

  def save_journal(self, session: Session) -> None:
    try:
      self.archive.save_journal(session.name, session.film())
    except OSError:
      logging.exception('cannot save the journal of %s', session.name)

  def sweep(self, now: float) -> None:
    """Saves and frees what nobody has asked for or watched in a while."""
    for session in tuple(self.sessions.values()):
      session.viewers = [v for v in session.viewers if not v.lost]
      if session.viewers and session.rolling:
        session.seen = now
      if now - session.seen > self.cfg.idle_secs and session.can_leave:
        self.save(session)
        self.drop(session, {'type': 'saved', 'id': session.name})
