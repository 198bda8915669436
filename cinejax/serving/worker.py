"""The one thread that makes the chunks of all sessions.

It takes, of the sessions whose next chunk should be begun (pace.py), the one
that was served longest ago and those that can share its call (film/slots.py),
makes their chunks without the lock, and gives them out under it. What a film
asks for that is not compiled yet is compiled by another thread meanwhile.
"""

import concurrent.futures
import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cinejax.core.errors import UserError
from cinejax.film import media
from cinejax.film.journal import Segment, Settings
from cinejax.serving.film.live_film import (
  ChunkRequest,
  FinishedChunk,
  LiveFilm,
  decode_output,
)
from cinejax.serving.film.slots import Slots
from cinejax.serving.registry import CapacityError, SessionRegistry
from cinejax.serving.session import Session
from cinejax.serving.viewer import HEADER

_MAX_VARIANTS = 8  # combinations of settings that one server compiles
_IDLE_CHECK_SECS = 1.0
_MARGIN_SECS = 0.08  # how much sooner than needed; directions may wait for it
_DECAY = 0.9  # how slowly the longest turn is forgotten


class _StartedChunk(NamedTuple):
  session: Session
  revision: int
  asked: ChunkRequest
  kinds: frozenset[str]  # of images its viewers take


class RolloutWorker:
  """Compiles when it is made; makes chunks from `start` to `stop`."""

  def __init__(self, registry: SessionRegistry):
    self._registry, self._clock = registry, registry.clock
    self.slots = Slots(registry.director, registry.cfg.slots)
    self._compiling: set[Settings] = set()
    self._compiler = concurrent.futures.ThreadPoolExecutor(1, 'compile')
    self._thread = threading.Thread(target=self._loop, daemon=True)
    self._turn_secs = self._warm_up()

  def start(self) -> None:
    self._thread.start()

  def stop(self, timeout_secs: float) -> bool:
    """Waits for the chunk in hand; -> whether it came in time."""
    self._compiler.shutdown(wait=False, cancel_futures=True)
    if self._thread.is_alive():
      self._thread.join(timeout_secs)
    return not self._thread.is_alive()

  def check(self, settings: Settings) -> None:
    """UserError where the model, or the server, cannot do them."""
    self._registry.director.variant(settings)
    known = self._compiling | {settings}
    new = sum(not self.slots.prepared(one) for one in known)
    if self.slots.variants + new > _MAX_VARIANTS:
      raise CapacityError(
        f'this server has {_MAX_VARIANTS} combinations of policy, steps and '
        'guidance already; take one of them'
      )

  def compile(
    self, settings: Settings, then: Callable[[Exception | None], None]
  ) -> None:
    """Meanwhile; `then` is called under the lock, with what went wrong."""

    def work() -> None:
      failed: Exception | None = None
      try:
        self.slots.prepare(settings)
      except Exception as error:
        logging.exception('cannot compile %s', settings)
        failed = error
      with self._registry.changed:
        self._compiling.discard(settings)
        then(failed)
        self._registry.changed.notify_all()

    self._compiling.add(settings)
    self._compiler.submit(work)

  def _loop(self) -> None:
    registry, checked = self._registry, self._clock()
    while True:
      with registry.changed:
        begun: list[_StartedChunk] = []
        while not begun:
          if registry.closing:
            return
          now = self._clock()
          if now - checked >= _IDLE_CHECK_SECS:
            registry.save_idle(now)
            checked = now
          settings, begun = self._start_batch(now)
          if not begun:
            registry.changed.wait(self._wait_secs(now))
      self._generate(settings, begun)

  def _wait_secs(self, now: float) -> float:
    reserve = self._reserve_secs()
    due = [s.start_at(reserve) - now for s in self._registry.sessions.values()]
    # what is due and was not begun waits for a compilation, which notifies
    return min([_IDLE_CHECK_SECS, *(secs for secs in due if secs > 0)])

  def _reserve_secs(self) -> float:
    """Time to make a chunk when everybody else is served first."""
    sessions = self._registry.sessions.values()
    turns = -(-sum(s.rolling for s in sessions) // self.slots.slots)
    return self._turn_secs * turns + _MARGIN_SECS

  def _start_batch(self, now: float) -> tuple[Settings, list[_StartedChunk]]:
    """Begins the chunks of one call, if there are any."""
    reserve = self._reserve_secs()
    sessions = self._registry.sessions.values()
    due = [session for session in sessions if session.start_at(reserve) <= now]
    shares: dict[Settings, list[Session]] = {}
    for session in sorted(due, key=lambda session: session.last_served):
      settings = session.next_settings()
      if self.slots.prepared(settings):
        shares.setdefault(settings, []).append(session)
      elif settings not in self._compiling:
        self.compile(settings, functools.partial(self._compiled, session))
    for settings, together in shares.items():
      begun = [
        self._start_chunk(one, now) for one in together[: self.slots.slots]
      ]
      return settings, [one for one in begun if one is not None]
    return Settings(), []

  def _compiled(self, session: Session, failed: Exception | None) -> None:
    """For a session that waits for it; the others will ask again."""
    if failed is not None and not session.ended:
      self._registry.fail(session, failed)

  def _start_chunk(self, session: Session, now: float) -> _StartedChunk | None:
    try:
      kinds = frozenset(viewer.kind for viewer in session.viewers)
      return _StartedChunk(
        session, session.revision, session.start_chunk(now), kinds
      )
    except Exception as error:
      self._registry.fail(session, error)
      return None

  def _generate(
    self, settings: Settings, begun: Sequence[_StartedChunk]
  ) -> None:
    """Without the lock, but for the giving out."""
    start = self._clock()
    try:
      turns = [one.asked.turn for one in begun]
      done = self.slots.run(settings, turns)
    except Exception as error:
      with self._registry.changed:
        for one in begun:
          self._registry.fail(one.session, error)
      return
    for one, of in zip(begun, done, strict=True):
      try:
        made = decode_output(self._registry.director, one.asked, of)
        frames = {kind: _encode(made, kind) for kind in one.kinds}
      except Exception as error:
        with self._registry.changed:
          self._registry.fail(one.session, error)
      else:
        with self._registry.changed:
          self._deliver(one, made, frames, self._clock() - start)
    secs = self._clock() - start
    self._turn_secs = max(secs, _DECAY * self._turn_secs + (1 - _DECAY) * secs)

  def _deliver(
    self,
    one: _StartedChunk,
    made: FinishedChunk,
    frames: dict[str, list[bytes]],
    secs: float,
  ) -> None:
    session = one.session
    if session.revision != one.revision or session.ended:
      return  # it went back, or away, while this was made
    try:
      event = session.finish_chunk(made, self._clock(), secs)
    except UserError as error:  # a disk that is full
      self._registry.fail(session, error)
      return
    for viewer in session.viewers:
      images = enumerate(frames.get(viewer.kind, ()), event['frame'])
      packed = [HEADER.pack(one.revision, n) + image for n, image in images]
      viewer.post(event, packed)
    opens = session.live_film.journal.segments[-1].chunks == 1
    if opens or not session.rolling:
      self._registry.notify(session)
      self._registry.save_journal(session)

  def _warm_up(self) -> float:
    """Compiles the decoder's two programs; -> seconds of a later chunk."""
    director = self._registry.director
    live_film, start = LiveFilm(director, 0, 0), 0.0
    live_film.add_segment(Segment('a film', chunks=1))
    for _ in range(3):
      start = self._clock()
      asked = live_film.start_chunk()
      (done,) = self.slots.run(Settings(), [asked.turn])
      live_film.finish_chunk(decode_output(director, asked, done))
    return self._clock() - start


def _encode(made: FinishedChunk, kind: str) -> list[bytes]:
  return [media.encode_frame(frame_YXC, kind) for frame_YXC in made.video_TYXC]
