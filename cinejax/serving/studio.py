"""What clients ask of a server; every method may be called by any thread.

Whatever a client may mend is a UserError of one sentence; `Missing` and
`Full` (registry.py) are those that are not about the words.
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
from cinejax.serving.registry import Full, Missing, Room
from cinejax.serving.session import UNWATCHED, Session
from cinejax.serving.viewer import Viewer
from cinejax.serving.worker import Maker

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
    self.room = Room(director, folder, clock)
    self.maker = Maker(self.room)
    self._lock = self.room.changed
    self._download = threading.Lock()  # one at a time: they cost computing
    for name in self.room.archive.open()[: self.room.cfg.sessions]:
      try:
        self.restore(name)
      except UserError as error:  # somebody changed the file
        logging.warning('session %s is not taken up: %s', name, error)

  def start(self) -> None:
    self.maker.start()

  def stop(self, timeout_secs: float) -> bool:
    """Saves all, sends all away; -> whether the last chunk was waited for."""
    with self._lock:
      self.room.closing = True
      self._lock.notify_all()
    stopped = self.maker.stop(timeout_secs)
    with self._lock:
      for session in self.room.sessions.values():
        self.room.save(session)
        self.room.leave(session, {'type': 'closing'})
      live = [n for n, s in self.room.sessions.items() if not s.ended]
      self.room.archive.set_open(live)
    return stopped

  def create(
    self, seed: int | None = None, title: str = '', film: Film | None = None
  ) -> dict[str, Any]:
    """A film that waits for its first prompt, or runs a screenplay."""
    if film is not None:
      self.director.check(film)
      title, seed = title or film.title, film.seed if seed is None else seed
      self._check_words({segment.bare for segment in film.segments})
    seed = secrets.randbelow(2**31) if seed is None else seed
    reel = self.room.new_reel(seed)
    with self._lock:
      session = self.room.add(reel, title)
      try:
        if film is not None:
          for settings in _settings_of(film):
            self.maker.check(settings)
          session.run(film, self.room.clock())
      except UserError:
        self.room.drop(session, {})
        raise
      self.room.tell(session)
      return session.told()

  def told(self, name: str) -> dict[str, Any]:
    with self._lock:
      return self.room.find(name).told()

  def listed(self) -> dict[str, Any]:
    with self._lock:
      sessions = self.room.sessions
      live = [session.told() for session in sessions.values()]
      return {
        'live': [{key: told[key] for key in _LISTED} for told in live],
        'saved': [
          {'id': name, 'title': title}
          for name, title in self.room.archive.titles().items()
          if name not in sessions
        ],
        'most': self.room.cfg.sessions,
      }

  def direct(self, name: str, document: Any) -> dict[str, Any]:
    """Does what directions.py describes; -> what was understood."""
    said = directions.parse(document, self.room.cfg.prompt_chars)
    if isinstance(said, directions.Say) and said.prompt:
      self._check_words({said.prompt})
    with self._lock:
      session = self.room.find(name)
      if isinstance(said, directions.Say):
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
      self.room.tell(session)
      return {'ok': True}

  def _check_words(self, prompts: Iterable[str]) -> None:
    """UserError where the model cannot read them; before a film ends by it."""
    prefix = self.director.cfg.film.cut_prefix
    for prompt in prompts:
      self.director.text.encode([prompt, f'{prefix}{prompt}'])

  def _say(self, session: Session, said: directions.Say) -> dict[str, Any]:
    """At once, or when what it asks for is compiled."""

    def say() -> int:
      chunk = session.say(said, self.room.clock())
      self.room.tell(session)
      return chunk

    def say_later(failed: Exception | None) -> None:
      try:
        if failed is not None:
          raise UserError(f'that cannot be compiled ({failed})')
        say()
      except UserError as error:  # or the film has ended meanwhile
        self.room.post(session, {'type': 'error', 'error': str(error)})

    settings = session.next_settings().then(said.settings)
    self.maker.check(settings)
    if self.maker.slots.prepared(settings):
      return {'ok': True, 'chunk': say()}
    self.maker.compile(settings, say_later)
    return {'ok': True, 'compiling': True}

  def fork(self, name: str, chunk: int) -> dict[str, Any]:
    """Another session with the same film before `chunk`."""
    with self._lock:
      origin = self.room.find(name)
      self.room.check_room()
      title = f'{origin.title or "Untitled"}, fork'
      session = self.room.add(origin.reel.fork(chunk), title)
      session.pause(_NEXT)
      return session.told()

  def save(self, name: str) -> dict[str, Any]:
    """`state`: not only the journal, which `restore` makes again."""
    with self._lock:
      session = self.room.find(name)
      self.room.save(session)
      return {'ok': True, 'state': not session.reel.away}

  def restore(self, name: str) -> dict[str, Any]:
    """A saved session, standing where it stood."""
    with self._lock:
      if name in self.room.sessions:
        return self.room.find(name).told()
      self.room.check_room()
      saved = self.room.archive.load(name)
      reel = self.room.new_reel(saved.film.seed or 0)
      if saved.made is not None:
        reel.resume(saved.made, saved.kept, saved.latents, saved.thumbs)
      session = self.room.add(reel, saved.film.title, name)
      session.restore(saved.film, saved.plan)
      return session.told()

  def close(self, name: str) -> dict[str, Any]:
    """Frees it, on disk too."""
    with self._lock:
      session = self.room.find(name)
      session.end('closed', 'it was closed')
      self.room.drop(session, {'type': 'closed'})
      self.room.archive.delete(name)
      return {'ok': True}

  def film(self, name: str) -> Film:
    """The journal, which is a screenplay."""
    with self._lock:
      return self.room.find(name).film()

  def thumb(self, name: str, frame: int) -> bytes:
    """A JPEG of a latent frame."""
    with self._lock:
      tape = self.room.find(name).reel.tape
      if not 0 <= frame < tape.frames:
        raise Missing(f'the film has no frame {frame}')
      return tape.still(frame)

  def video(self, name: str) -> bytes:
    """An MP4 of the film so far: what `direct` would write."""
    with self._lock:
      reel = self.room.find(name).reel
      if not reel.chunks:
        raise Missing('nothing has been made yet')
      frames = reel.frames()
    film = self.director.cfg.film
    scale = media.watchable_scale(film.height)
    if not self._download.acquire(timeout=_DOWNLOAD_SECS):
      raise Full('other films are being written; try again')
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
      session = self.room.find(name)
      if len(session.viewers) >= self.room.cfg.viewers:
        raise Full(f'a session has {self.room.cfg.viewers} viewers at most')
      session.viewers.append(viewer)
      if session.status == 'paused' and session.reason == UNWATCHED:
        session.resume()
      self.room.tell(session)

  def unwatch(self, name: str, viewer: Viewer) -> None:
    """The last one who leaves stops the film."""
    with self._lock:
      session = self.room.sessions.get(name)
      if session is None or viewer not in session.viewers:
        return
      session.viewers.remove(viewer)
      if not session.viewers and session.rolling:
        session.pause(UNWATCHED)
      self.room.tell(session)


def _settings_of(film: Film) -> Iterator[Settings]:
  """All that its chunks will run with."""
  settings = Settings()
  for segment in film.segments:
    settings = settings.then(segment.settings)
    yield settings
