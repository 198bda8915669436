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
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.session import Session

_ABANDONED_SECS = 15.0  # a film that stands so long may be freed for another


class NotFoundError(UserError):
  """There is no such session."""


class CapacityError(UserError):
  """The server is full or busy."""


class SessionRegistry:
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
    self.archive = SessionArchive(
      folder, model_name(director), self.cfg.saved_sessions
    )

  def find(self, name: str) -> Session:
    """Somebody asks for it, so it is not idle."""
    session = self.sessions.get(name)
    if session is None:
      raise NotFoundError('there is no such session; it may have been saved')
    session.last_seen = self.clock()
    return session

  def new_film(self, seed: int) -> LiveFilm:
    """A film that has not begun."""
    return LiveFilm(self.director, seed, self.cfg.kept_states, self._folder)

  def check_capacity(self) -> None:
    if self.closing:
      raise CapacityError('the server is closing')
    if len(self.sessions) >= self.cfg.sessions and not self._free_session():
      raise CapacityError(
        f'all {self.cfg.sessions} sessions are taken; close one or come back'
      )

  def _free_session(self) -> bool:
    """Saves and frees the film that was left longest ago, if one was."""
    before = self.clock() - _ABANDONED_SECS
    left = [
      session
      for session in self.sessions.values()
      if not session.viewers
      and not session.rolling
      and session.can_be_freed
      and session.last_seen < before
    ]
    if not left:
      return False
    oldest = min(left, key=lambda session: session.last_seen)
    self.save(oldest)
    self.remove(oldest, {'type': 'saved', 'id': oldest.name})
    return True

  def add(self, live_film: LiveFilm, title: str, name: str = '') -> Session:
    self.check_capacity()
    timeline = self.director.timeline
    session = Session(live_film, self.cfg, timeline, self.clock(), title, name)
    self.sessions[session.name] = session
    return session

  def notify(self, session: Session) -> None:
    """Viewers see how the session stands; the maker routed_frames again."""
    if session.viewers:
      self.broadcast(session, session.to_json())
    self.changed.notify_all()

  def broadcast(self, session: Session, event: dict[str, Any]) -> None:
    for viewer in session.viewers:
      viewer.post(event)

  def disconnect_viewers(self, session: Session, event: dict[str, Any]) -> None:
    """Sends its viewers away."""
    self.broadcast(session, event)
    for viewer in session.viewers:
      viewer.close()
    session.viewers = []

  def remove(self, session: Session, event: dict[str, Any]) -> None:
    """Frees it."""
    self.sessions.pop(session.name, None)
    self.disconnect_viewers(session, event)

  def fail(self, session: Session, error: Exception) -> None:
    """Ends this session alone, its journal saved."""
    logging.error('session %s failed', session.name, exc_info=error)
    session.end('failed', f'a chunk could not be made ({error})')
    self.save_journal(session)
    self.notify(session)

  def save(self, session: Session) -> None:
    """A disk that is full must not end the film."""
    try:
      self.archive.save(
        session.name,
        session.live_film,
        session.screenplay(),
        session.plan_to_json(),
      )
    except OSError:
      logging.exception('cannot save session %s', session.name)

  def save_journal(self, session: Session) -> None:
    try:
      self.archive.save_journal(session.name, session.screenplay())
    except OSError:
      logging.exception('cannot save the journal of %s', session.name)

  def save_idle(self, now: float) -> None:
    """Saves and frees what nobody has asked for or watched in a while."""
    for session in tuple(self.sessions.values()):
      session.viewers = [v for v in session.viewers if not v.lost]
      if session.viewers and session.rolling:
        session.last_seen = now
      if now - session.last_seen > self.cfg.idle_secs and session.can_be_freed:
        self.save(session)
        self.remove(session, {'type': 'saved', 'id': session.name})
