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
from cinejax.serving.film.archive import SessionArchive, new_name
from cinejax.serving.film.history import History
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.restoring import FilmFiles
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
    self.in_step: list[tuple[str, ...]] = []  # sessions; see comparing.py
    folder.mkdir(parents=True, exist_ok=True)
    self.archive = SessionArchive(folder, model_name(director))
    self.deleted = SessionArchive(folder / 'deleted', self.archive.model)
    for title in self.deleted.delete_older(86_400 * self.cfg.deleted_days):
      logging.warning('%r was deleted long ago and is gone now', title)
    self._files = FilmFiles(director, self.archive)
    self._to_restore: list[str] = []  # live before the server stopped
    # of demo.py
    self.demo_path = folder / f'demo-{self.archive.model[:16]}.mp4'

  def find(self, name: str) -> Session:
    """The session of a client's request, which is not idle any more."""
    session = self.sessions.get(name)
    if session is None:
      raise NotFoundError('there is no such session; it may have been saved')
    session.last_seen = self.clock()
    return session

  def new_film(self, seed: int, title: str = '') -> LiveFilm:
    """A film without chunks."""
    return self._files.new(new_name(), seed, title)

  def restore(self, name: str) -> Session:
    """Makes a saved film a session, which is paused.

    Raises UserError if there is no such film, and CapacityError if there
    cannot be another session.
    """
    self.check_capacity()
    self.archive.check(name)
    restored = self._files.restore(name)
    session = self.add(restored.live_film, restored.title, restored.history)
    session.plan_rest(restored.film, restored.plan or {})
    session.pause('restored')
    return session

  def restore_open(self) -> None:
    """Restores the sessions that were live when the server ended."""
    self._to_restore = self.archive.open()[: self.cfg.sessions]
    while self._to_restore:
      try:
        self.restore(self._to_restore[0])
      except UserError as error:  # its file was changed
        name = self._to_restore[0]
        logging.warning('session %s cannot be restored: %s', name, error)
      del self._to_restore[0]

  def discard(self, session: Session, reason: str) -> None:
    """Closes a session, and deletes the files of its film for good."""
    session.end('closed', reason)
    self.remove(session, {'type': 'closed'})
    self.archive.delete(session.name)

  def delete(self, name: str) -> None:
    """Closes a film and moves its files to the deleted ones.

    Raises NotFoundError if there is no such film.
    """
    if name in self.sessions:
      session = self.sessions[name]
      session.end('closed', 'it was closed')
      self.remove(session, {'type': 'closed'})
    elif name not in self.archive.names():
      raise NotFoundError('there is no such film')
    self.archive.move(name, self.deleted)

  def undelete(self, name: str) -> None:
    """Moves a deleted film back; NotFoundError if there is none."""
    if name not in self.deleted.names():
      raise NotFoundError('there is no such deleted film')
    self.check_shelf()
    self.deleted.move(name, self.archive, back=True)

  def rename(self, name: str, title: str) -> None:
    """Gives a film another title; NotFoundError if there is no such film."""
    session = self.sessions.get(name)
    if session is not None:
      session.live_film.record.set_title(title)
      session.title = title
      self.notify(session)
    elif name in self.archive.names():
      self.archive.rename(name, title)
    else:
      raise NotFoundError('there is no such film')

  def check_shelf(self) -> None:
    """Raises CapacityError if there cannot be another film."""
    films = {*self.archive.names(), *self.sessions}
    if len(films) >= self.cfg.saved_sessions:
      raise CapacityError(
        f'there are {len(films)} films, and this server keeps no more; delete '
        'one that you do not need'
      )

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

  def add(
    self, live_film: LiveFilm, title: str, history: History | None = None
  ) -> Session:
    """Adds a session; CapacityError if there cannot be another.

    Args:
      live_film: its film.
      title: of the film.
      history: the steps of the film that can be undone.
    """
    self.check_capacity()
    timeline, name = self.director.timeline, live_film.record.name
    session = Session(
      live_film, self.cfg, timeline, self.clock(), title, name, history
    )
    self.sessions[session.name] = session
    self.set_open(list(self.sessions))
    return session

  def fork(self, origin: Session, chunk: int, title: str) -> Session:
    """Adds a session with the film of `origin` before `chunk`."""
    live_film = self._files.fork(new_name(), origin.live_film, chunk, title)
    session = self.add(live_film, title)
    self.save_long(session)
    return session

  def set_open(self, names: list[str]) -> None:
    """Records which sessions are live, for the next start of the server."""
    try:
      self.archive.set_open([*names, *self._to_restore])
    except (OSError, UserError):
      logging.exception('cannot save which sessions are live')

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
    record = session.live_film.record
    record.close()
    if not record.begun:
      self.archive.delete(session.name)
    self.set_open(list(self.sessions))

  def fail(self, session: Session, error: Exception) -> None:
    """Ends one session after an error, and saves its journal."""
    logging.error('session %s failed', session.name, exc_info=error)
    session.end('failed', f'a chunk could not be generated ({error})')
    self.save_journal(session)
    self.notify(session)

  def save(self, session: Session) -> None:
    """Saves a session; an error of the disk is logged and ends no film.

    Its journal is on the disk at any time. The state is left out while a chunk
    is in flight.
    """
    self.save_journal(session)
    live_film = session.live_film
    if live_film.chunks and not live_film.replaying:
      self._save_state(session, wait=True)

  def save_long(self, session: Session) -> None:
    """Saves the state of a session that has a long way from the saved one."""
    live_film = session.live_film
    if live_film.replaying or live_film.saved_chunks == live_film.chunks:
      return
    ahead = live_film.chunks - live_film.saved_chunks
    if live_film.saved_chunks < 0 or ahead >= self.cfg.state_chunks:
      self._save_state(session)

  def _save_state(self, session: Session, wait: bool = False) -> None:
    if session.live_film.chunk_in_flight:
      return
    try:
      if wait:
        self.archive.flush()
      self.archive.save_state(session.name, session.live_film)
    except (OSError, UserError):
      logging.exception('cannot save the state of %s', session.name)

  def save_journal(self, session: Session) -> None:
    """Saves a session's screenplay; errors are treated as in `save`."""
    try:
      self.archive.save_journal(session.name, session.screenplay())
    except (OSError, UserError):
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
