"""What clients ask of a server; every method may be called by any thread.

Whatever a client may mend is a UserError of one sentence; `NotFoundError` and
`CapacityError` (registry.py) are those that are not about the words.
"""

import logging
import pathlib
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film import media
from cinejax.film.journal import Film, Settings
from cinejax.serving import directions
from cinejax.serving.registry import (
  CapacityError,
  NotFoundError,
  SessionRegistry,
)
from cinejax.serving.session import UNWATCHED, Session
from cinejax.serving.viewer import Viewer
from cinejax.serving.worker import RolloutWorker

_LISTED = ('id', 'title', 'status', 'secs', 'viewers')
_NEXT = 'say what comes next'
_DOWNLOAD_SECS = 5.0  # that a download waits for others


class Studio:
  """Sessions by name."""

  def __init__(
    self,
    director: Director,
    folder: pathlib.Path,
    clock: Callable[[], float] = time.monotonic,
  ):
    """Compiles everything; sessions in `folder` that were live are back."""
    self.director = director
    self.registry = SessionRegistry(director, folder, clock)
    self.worker = RolloutWorker(self.registry)
    self._lock = self.registry.changed
    self._download = threading.Lock()  # one at a time: they cost computing
    for name in self.registry.archive.open()[: self.registry.cfg.sessions]:
      try:
        self.restore(name)
      except UserError as error:  # somebody changed the file
        logging.warning('session %s is not taken up: %s', name, error)

  def start(self) -> None:
    self.worker.start()

  def stop(self, timeout_secs: float) -> bool:
    """Saves all, sends all away; -> whether the last chunk was waited for."""
    with self._lock:
      self.registry.closing = True
      self._lock.notify_all()
    stopped = self.worker.stop(timeout_secs)
    with self._lock:
      for session in self.registry.sessions.values():
        self.registry.save(session)
        self.registry.disconnect_viewers(session, {'type': 'closing'})
      live = [n for n, s in self.registry.sessions.items() if not s.ended]
      self.registry.archive.set_open(live)
    return stopped

  def create(
    self, seed: int | None = None, title: str = '', film: Film | None = None
  ) -> dict[str, Any]:
    """A film that waits for its first prompt, or runs a screenplay."""
    if film is not None:
      self.director.check(film)
      title, seed = title or film.title, film.seed if seed is None else seed
      self._check_prompts({segment.full_prompt for segment in film.segments})
    seed = secrets.randbelow(2**31) if seed is None else seed
    live_film = self.registry.new_film(seed)
    with self._lock:
      session = self.registry.add(live_film, title)
      try:
        if film is not None:
          for settings in _settings_of(film):
            self.worker.check(settings)
          session.run_screenplay(film, self.registry.clock())
      except UserError:
        self.registry.remove(session, {})
        raise
      self.registry.notify(session)
      return session.to_json()

  def describe(self, name: str) -> dict[str, Any]:
    with self._lock:
      return self.registry.find(name).to_json()

  def list_sessions(self) -> dict[str, Any]:
    with self._lock:
      sessions = self.registry.sessions
      live = [session.to_json() for session in sessions.values()]
      return {
        'live': [{key: told[key] for key in _LISTED} for told in live],
        'saved': [
          {'id': name, 'title': title}
          for name, title in self.registry.archive.titles().items()
          if name not in sessions
        ],
        'max_sessions': self.registry.cfg.sessions,
      }

  def direct(self, name: str, document: Any) -> dict[str, Any]:
    """Does what directions.py describes; -> what was understood."""
    said = directions.parse(document, self.registry.cfg.prompt_chars)
    if isinstance(said, directions.ChunkDirection) and said.prompt:
      self._check_prompts({said.prompt})
    with self._lock:
      session = self.registry.find(name)
      if isinstance(said, directions.ChunkDirection):
        return self._say(session, said)
      if isinstance(said, directions.Rewind):
        if said.chunk is None:
          session.rewind(session.chunk_of_shot(said.shot))
        else:
          session.rewind(said.chunk)
      elif said.do == 'hold':
        session.hold()
      elif said.do == 'pause':
        session.pause()
      else:
        session.resume()
      self.registry.notify(session)
      return {'ok': True}

  def _check_prompts(self, prompts: Iterable[str]) -> None:
    """UserError where the model cannot read them; before a film ends by it."""
    prefix = self.director.cfg.film.cut_prefix
    for prompt in prompts:
      self.director.text.encode([prompt, f'{prefix}{prompt}'])

  def _say(
    self, session: Session, said: directions.ChunkDirection
  ) -> dict[str, Any]:
    """At once, or when what it asks for is compiled."""

    def say() -> int:
      chunk = session.add_direction(said, self.registry.clock())
      self.registry.notify(session)
      return chunk

    def say_later(failed: Exception | None) -> None:
      try:
        if failed is not None:
          raise UserError(f'that cannot be compiled ({failed})')
        say()
      except UserError as error:  # or the film has ended meanwhile
        self.registry.broadcast(session, {'type': 'error', 'error': str(error)})

    settings = session.next_settings().then(said.settings)
    self.worker.check(settings)
    if self.worker.slots.prepared(settings):
      return {'ok': True, 'chunk': say()}
    self.worker.compile(settings, say_later)
    return {'ok': True, 'compiling': True}

  def fork(self, name: str, chunk: int) -> dict[str, Any]:
    """Another session with the same film before `chunk`."""
    with self._lock:
      origin = self.registry.find(name)
      self.registry.check_capacity()
      title = f'{origin.title or "Untitled"}, fork'
      session = self.registry.add(origin.live_film.fork(chunk), title)
      session.pause(_NEXT)
      return session.to_json()

  def save(self, name: str) -> dict[str, Any]:
    """`state`: not only the journal, which `restore` makes again."""
    with self._lock:
      session = self.registry.find(name)
      self.registry.save(session)
      return {'ok': True, 'state': not session.live_film.chunk_in_flight}

  def restore(self, name: str) -> dict[str, Any]:
    """A saved session, standing where it stood."""
    with self._lock:
      if name in self.registry.sessions:
        return self.registry.find(name).to_json()
      self.registry.check_capacity()
      saved = self.registry.archive.load(name)
      live_film = self.registry.new_film(saved.film.seed or 0)
      if saved.finished is not None:
        live_film.load(
          saved.finished, saved.snapshot, saved.latents, saved.thumbnails
        )
      session = self.registry.add(live_film, saved.film.title, name)
      session.restore(saved.film, saved.plan)
      return session.to_json()

  def close(self, name: str) -> dict[str, Any]:
    """Frees it, on disk too."""
    with self._lock:
      session = self.registry.find(name)
      session.end('closed', 'it was closed')
      self.registry.remove(session, {'type': 'closed'})
      self.registry.archive.delete(name)
      return {'ok': True}

  def screenplay(self, name: str) -> Film:
    """The journal, which is a screenplay."""
    with self._lock:
      return self.registry.find(name).screenplay()

  def thumbnail(self, name: str, frame: int) -> bytes:
    """A JPEG of a latent frame."""
    with self._lock:
      spool = self.registry.find(name).live_film.spool
      if not 0 <= frame < spool.frames:
        raise NotFoundError(f'the film has no frame {frame}')
      return spool.thumbnail(frame)

  def video(self, name: str) -> bytes:
    """An MP4 of the film so far: what `direct` would write."""
    with self._lock:
      live_film = self.registry.find(name).live_film
      if not live_film.chunks:
        raise NotFoundError('nothing has been made yet')
      frames = live_film.frames()
    film = self.director.cfg.film
    scale = media.watchable_scale(film.height)
    if not self._download.acquire(timeout=_DOWNLOAD_SECS):
      raise CapacityError('other films are being written; try again')
    try:
      with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / 'film.mp4'
        media.write_video(path, frames, film.fps, scale=scale)
        return path.read_bytes()
    finally:
      self._download.release()

  def watch(self, name: str, viewer: Viewer) -> None:
    """Its frames go to `viewer` from now on; a film that waited rolls."""
    with self._lock:
      session = self.registry.find(name)
      if len(session.viewers) >= self.registry.cfg.viewers:
        raise CapacityError(
          f'a session has {self.registry.cfg.viewers} viewers at most'
        )
      session.viewers.append(viewer)
      if session.status == 'paused' and session.reason == UNWATCHED:
        session.resume()
      self.registry.notify(session)

  def unwatch(self, name: str, viewer: Viewer) -> None:
    """The last one who leaves stops the film."""
    with self._lock:
      session = self.registry.sessions.get(name)
      if session is None or viewer not in session.viewers:
        return
      session.viewers.remove(viewer)
      if not session.viewers and session.rolling:
        session.pause(UNWATCHED)
      self.registry.notify(session)


def _settings_of(film: Film) -> Iterator[Settings]:
  """All that its chunks will run with."""
  settings = Settings()
  for segment in film.segments:
    settings = settings.merged(segment.settings)
    yield settings
