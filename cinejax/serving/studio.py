"""The operations of a server for its clients; any thread may call them.

An error that a client can correct is a UserError of one sentence.
`NotFoundError` and `CapacityError` (registry.py) are those that do not concern
the contents of the request.
"""

import contextlib
import pathlib
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.journal import Film, Settings
from cinejax.serving import cast, directions, edits
from cinejax.serving.compiling import when_compiled
from cinejax.serving.exports import ExportQueue
from cinejax.serving.registry import (
  CapacityError,
  NotFoundError,
  SessionRegistry,
)
from cinejax.serving.session import NEXT_PROMPT, UNWATCHED
from cinejax.serving.viewer import Viewer
from cinejax.serving.worker import RolloutWorker

_LISTED = ('id', 'title', 'status', 'secs', 'viewers')


class Studio:
  """Creates, directs, shows and saves sessions, which clients know by name."""

  def __init__(
    self,
    director: Director,
    folder: pathlib.Path,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Compiles all programs and restores the sessions that were live.

    Args:
      director: generates the films.
      folder: of saved sessions.
      clock: the time in seconds.
    """
    self.director = director
    self.registry = SessionRegistry(director, folder, clock)
    self.worker = RolloutWorker(self.registry)
    self._lock = self.registry.changed
    self.exports = ExportQueue(self.registry, folder / 'exports')
    with self._lock:
      self.registry.restore_open()

  def start(self) -> None:
    self.worker.start()

  def stop(self, timeout_secs: float) -> bool:
    """Saves all sessions and disconnects their viewers.

    Returns whether the chunk in flight finished within `timeout_secs`.
    """
    with self._lock:
      self.registry.closing = True
      self._lock.notify_all()
    self.exports.close()
    stopped = self.worker.stop(timeout_secs)
    with self._lock:
      for session in self.registry.sessions.values():
        self.registry.save(session)
        self.registry.disconnect_viewers(session, {'type': 'closing'})
      live = [n for n, s in self.registry.sessions.items() if not s.ended]
      self.registry.set_open(live)
      self.registry.archive.flush()
    return stopped

  def create(
    self, seed: int | None = None, title: str = '', film: Film | None = None
  ) -> dict[str, Any]:
    """Creates a session that waits for its first prompt, or runs `film`.

    Args:
      seed: of the noise; None: that of `film`, or else a random one.
      title: of the session; '': that of `film`.
      film: a screenplay.

    Returns:
      The session, as JSON.
    """
    if film is not None:
      self.director.check(film)
      title, seed = title or film.title, film.seed if seed is None else seed
      self.check_prompts({segment.full_prompt for segment in film.segments})
    seed = secrets.randbelow(2**31) if seed is None else seed
    live_film = self.registry.new_film(seed, title)
    cast.give(self.director, live_film, film.cast if film else ())
    with self._lock:
      self.registry.check_shelf()
      session = self.registry.add(live_film, title)
      try:
        if film is not None:
          for settings in _settings_of(film):
            self.worker.check(settings)
          with session.plan.at_once():
            session.run_screenplay(film, self.registry.clock())
          self.worker.prepare_ahead(session, _settings_of(film))
      except UserError:
        self.registry.discard(session, 'it could not begin')
        raise
      self.registry.notify(session)
      return session.to_json()

  def describe(self, name: str) -> dict[str, Any]:
    """The session, as JSON."""
    with self._lock:
      return self.registry.find(name).to_json()

  def list_sessions(self) -> dict[str, Any]:
    """The live and the saved sessions, as JSON."""
    with self._lock:
      sessions = self.registry.sessions
      live = [session.to_json() for session in sessions.values()]
      return {
        'live': [{key: entry[key] for key in _LISTED} for entry in live],
        'saved': self.registry.archive.entries(sessions),
        'deleted': self.registry.deleted.entries(),
        'max_sessions': self.registry.cfg.sessions,
        'max_films': self.registry.cfg.saved_sessions,
      }

  def direct(self, name: str, document: Any) -> dict[str, Any]:
    """Follows a direction, which is JSON of the form in directions.py.

    Returns:
      JSON: `ok`, and for directions to chunks the `chunk`, or `compiling` if
      its program has to be compiled first.
    """
    direction = directions.parse(document, self.registry.cfg.prompt_chars)
    for_chunk = isinstance(direction, directions.ChunkDirection)
    if prompt := direction.prompt:
      self.check_prompts({prompt})
    with self._lock:
      session = self.registry.find(name)
      if for_chunk:

        def add() -> int:
          chunk = session.add_direction(direction, self.registry.clock())
          self.registry.notify(session)
          return chunk

        return when_compiled(
          self.registry, self.worker, [session], direction.settings, add
        )
      if isinstance(direction, directions.Edit):
        edits.follow(session, direction)
        self.registry.save_long(session)
      elif direction.do == 'hold':
        session.hold()
      elif direction.do == 'pause':
        session.pause()
      else:
        session.resume()
      self.registry.notify(session)
      return {'ok': True}

  def check_prompts(self, prompts: Iterable[str]) -> None:
    """Raises UserError if the model cannot read them, before a film fails."""
    prefix = self.director.cfg.film.cut_prefix
    for prompt in prompts:
      self.director.text.encode([prompt, f'{prefix}{prompt}'])

  def fork(self, name: str, chunk: int) -> dict[str, Any]:
    """Creates another session with the same film before `chunk`."""
    with self._lock:
      origin = self.registry.find(name)
      self.registry.check_shelf()
      self.registry.check_capacity()
      title = f'{origin.shown_title or "Untitled"}, fork'
      session = self.registry.fork(origin, chunk, title)
      session.pause(NEXT_PROMPT)
      return session.to_json()

  def save(self, name: str) -> dict[str, Any]:
    """Saves a session; `state`: not only the journal, but its state too."""
    with self._lock:
      session = self.registry.find(name)
      self.registry.save(session)
      return {'ok': True, 'state': not session.live_film.chunk_in_flight}

  def restore(self, name: str) -> dict[str, Any]:
    """Restores a saved session, which is then paused."""
    with self._lock:
      if name in self.registry.sessions:
        return self.registry.find(name).to_json()
      return self.registry.restore(name).to_json()

  def close(self, name: str) -> dict[str, Any]:
    """Frees a session, or takes a saved film, and deletes it; see undelete."""
    with self._lock:
      self.registry.delete(name)
      return {'ok': True}

  def undelete(self, name: str) -> dict[str, Any]:
    """Makes a deleted film a saved one again."""
    with self._lock:
      self.registry.undelete(name)
      return {'ok': True}

  def rename(self, name: str, title: str) -> dict[str, Any]:
    """Gives a live or saved film another title."""
    with self._lock:
      self.registry.rename(name, title)
      return {'ok': True}

  def screenplay(self, name: str) -> Film:
    """The journal of the film, which is a screenplay."""
    with self._lock:
      return self.registry.find(name).screenplay()

  def thumbnail(self, name: str, frame: int) -> bytes:
    """A JPEG of a latent frame."""
    with self._lock:
      spool = self.registry.find(name).live_film.spool
      if not 0 <= frame < spool.frames:
        raise NotFoundError(f'the film has no frame {frame}')
      return spool.thumbnail(frame)

  def stills(self, name: str, stored: int) -> bytes:
    """All pixel frames of a stored chunk (film/spool.py)."""
    with self._lock:
      spool = self.registry.find(name).live_film.spool
      if not 0 <= stored < spool.stored:
        raise NotFoundError(f'the film has no stored chunk {stored}')
      return spool.stills(stored)

  def video(self, name: str) -> bytes:
    """An MP4 of the film so far, the same as `direct` would write."""
    with self._lock:
      export = self.exports.add(self.registry.find(name), 'mp4')
    export.ended.wait()
    if export.status != 'done':
      raise UserError(
        f'the film was not written ({export.error or "cancelled"})'
      )
    _, file = self.exports.open(export.id)
    with file:
      with contextlib.suppress(NotFoundError):  # it was dropped meanwhile
        self.exports.cancel(export.id)  # only this client knows of it
      return file.read()

  def watch(self, name: str, viewer: Viewer) -> None:
    """Adds a viewer; a film that paused for lack of viewers stays paused."""
    with self._lock:
      session = self.registry.find(name)
      most = self.registry.cfg.viewers
      if len(session.viewers) >= most:
        raise CapacityError(f'a session has {most} viewers at most')
      session.viewers.append(viewer)
      self.registry.notify(session)

  def unwatch(self, name: str, viewer: Viewer) -> None:
    """Removes a viewer; a film without viewers pauses."""
    with self._lock:
      session = self.registry.sessions.get(name)
      if session is None or viewer not in session.viewers:
        return
      session.viewers.remove(viewer)
      if not session.viewers and session.rolling:
        session.pause(UNWATCHED)
      self.registry.notify(session)


def _settings_of(film: Film) -> Iterator[Settings]:
  """The settings under which the segments of `film` run."""
  settings = Settings()
  for segment in film.segments:
    settings = settings.merged(segment.settings)
    yield settings
