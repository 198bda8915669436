"""The live sessions of a server, and what happens to them.

Every method is called with the lock `changed` held. The worker waits on
`changed` for something to do.
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

# A film without viewers may be freed for another after this time.
_ABANDONED_SECS = 15.0


class NotFoundError(UserError):
  """There is no such session, or no such part of it."""


class CapacityError(UserError):
  """The server cannot do more at present."""


class SessionRegistry:
  """The sessions by name, and the archive to which they are saved."""

  def __init__(
    self,
    director: Director,
    folder: pathlib.Path,
    clock: Callable[[], float],
  ):
    """A registry without sessions.

    Args:
      director: generates the films.
      folder: of saved sessions; created if it does not exist.
      clock: the time in seconds.
    """
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
    """The session of a client's request, which is not idle any more."""
    session = self.sessions.get(name)
    if session is None:
      raise NotFoundError('there is no such session; it may have been saved')
    session.last_seen = self.clock()
    return session

  def new_film(self, seed: int) -> LiveFilm:
    """A film without chunks."""
    return LiveFilm(self.director, seed, self.cfg.kept_states, self._folder)

  def check_capacity(self) -> None:
    """Raises CapacityError if there cannot be another session."""
    if self.closing:
      raise CapacityError('the server is closing')
    if len(self.sessions) >= self.cfg.sessions and not self._free_session():
      raise CapacityError(
        f'all {self.cfg.sessions} sessions are taken; close one, or try again '
        'later'
      )

  def _free_session(self) -> bool:
    """Saves and removes the session abandoned longest ago, if there is one."""
    before = self.clock() - _ABANDONED_SECS
    abandoned = [
      session
      for session in self.sessions.values()
      if not session.viewers
      and not session.rolling
      and session.can_be_freed
      and session.last_seen < before
    ]
    if not abandoned:
      return False
    oldest = min(abandoned, key=lambda session: session.last_seen)
    self.save(oldest)
    self.remove(oldest, {'type': 'saved', 'id': oldest.name})
    return True

  def add(self, live_film: LiveFilm, title: str, name: str = '') -> Session:
    """Adds a session; CapacityError if there cannot be another."""
    self.check_capacity()
    timeline = self.director.timeline
    session = Session(live_film, self.cfg, timeline, self.clock(), title, name)
    self.sessions[session.name] = session
    return session

  def notify(self, session: Session) -> None:
    """Sends the session's state to its viewers and wakes the worker."""
    if session.viewers:
      self.broadcast(session, session.to_json())
    self.changed.notify_all()

  def broadcast(self, session: Session, event: dict[str, Any]) -> None:
    """Sends an event to all viewers of a session."""
    for viewer in session.viewers:
      viewer.post(event)

  def disconnect_viewers(self, session: Session, event: dict[str, Any]) -> None:
    """Sends a last event to all viewers of a session."""
    self.broadcast(session, event)
    for viewer in session.viewers:
      viewer.close()
    session.viewers = []

  def remove(self, session: Session, event: dict[str, Any]) -> None:
    """Frees a session; `event` is the last one for its viewers."""
    self.sessions.pop(session.name, None)
    self.disconnect_viewers(session, event)

  def fail(self, session: Session, error: Exception) -> None:
    """Ends one session after an error, and saves its journal."""
    logging.error('session %s failed', session.name, exc_info=error)
    session.end('failed', f'a chunk could not be generated ({error})')
    self.save_journal(session)
    self.notify(session)

  def save(self, session: Session) -> None:
    """Saves a session; an error of the disk is logged and ends no film."""
    try:
      self.archive.save(
        session.name,
        session.live_film,
        session.screenplay(),
        session.plan.to_json(),
      )
    except OSError:
      logging.exception('cannot save session %s', session.name)

  def save_journal(self, session: Session) -> None:
    """Saves a session's journal; errors are treated as in `save`."""
    try:
      self.archive.save_journal(session.name, session.screenplay())
    except OSError:
      logging.exception('cannot save the journal of %s', session.name)

  def save_idle(self, now: float) -> None:
    """Saves and removes the sessions that were idle for cfg.idle_secs."""
    for session in tuple(self.sessions.values()):
      session.viewers = [v for v in session.viewers if not v.lost]
      if session.viewers and session.rolling:
        session.last_seen = now
      if now - session.last_seen > self.cfg.idle_secs and session.can_be_freed:
        self.save(session)
        self.remove(session, {'type': 'saved', 'id': session.name})
