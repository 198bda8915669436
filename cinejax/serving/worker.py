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
from cinejax.serving.film.live_film import Asked, Made, Reel, develop
from cinejax.serving.film.slots import Slots
from cinejax.serving.registry import Full, Room
from cinejax.serving.session import Session
from cinejax.serving.viewer import HEADER

_VARIANTS = 8  # combinations of settings that one server compiles
_SWEEP_SECS = 1.0
_MARGIN_SECS = 0.08  # how much sooner than needed; directions may wait for it
_CALM = 0.9  # how slowly the longest turn is forgotten


class _Begun(NamedTuple):
  session: Session
  take: int
  asked: Asked
  kinds: frozenset[str]  # of images its viewers take


class Maker:
  """Compiles when it is made; makes chunks from `start` to `stop`."""

  def __init__(self, room: Room):
    self._room, self._clock = room, room.clock
    self.slots = Slots(room.director, room.cfg.slots)
    self._compiling: set[Settings] = set()
    self._compiler = concurrent.futures.ThreadPoolExecutor(1, 'compile')
    self._thread = threading.Thread(target=self._work, daemon=True)
    self._turn_secs = self._warm()

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
    self._room.director.variant(settings)
    known = self._compiling | {settings}
    new = sum(not self.slots.prepared(one) for one in known)
    if self.slots.variants + new > _VARIANTS:
      raise Full(
        f'this server has {_VARIANTS} combinations of policy, steps and '
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
      with self._room.changed:
        self._compiling.discard(settings)
        then(failed)
        self._room.changed.notify_all()

    self._compiling.add(settings)
    self._compiler.submit(work)

  def _work(self) -> None:
    room, swept = self._room, self._clock()
    while True:
      with room.changed:
        begun: list[_Begun] = []
        while not begun:
          if room.closing:
            return
          now = self._clock()
          if now - swept >= _SWEEP_SECS:
            room.sweep(now)
            swept = now
          settings, begun = self._begin(now)
          if not begun:
            room.changed.wait(self._wait_secs(now))
      self._make(settings, begun)

  def _wait_secs(self, now: float) -> float:
    reserve = self._reserve_secs()
    due = [s.begin_at(reserve) - now for s in self._room.sessions.values()]
    # what is due and was not begun waits for a compilation, which notifies
    return min([_SWEEP_SECS, *(secs for secs in due if secs > 0)])

  def _reserve_secs(self) -> float:
    """Time to make a chunk when everybody else is served first."""
    sessions = self._room.sessions.values()
    turns = -(-sum(s.rolling for s in sessions) // self.slots.slots)
    return self._turn_secs * turns + _MARGIN_SECS

  def _begin(self, now: float) -> tuple[Settings, list[_Begun]]:
    """Begins the chunks of one call, if there are any."""
    reserve = self._reserve_secs()
    sessions = self._room.sessions.values()
    due = [session for session in sessions if session.begin_at(reserve) <= now]
    shares: dict[Settings, list[Session]] = {}
    for session in sorted(due, key=lambda session: session.served):
      settings = session.next_settings()
      if self.slots.prepared(settings):
        shares.setdefault(settings, []).append(session)
      elif settings not in self._compiling:
        self.compile(settings, functools.partial(self._compiled, session))
    for settings, together in shares.items():
      begun = [self._begun(one, now) for one in together[: self.slots.slots]]
      return settings, [one for one in begun if one is not None]
    return Settings(), []

  def _compiled(self, session: Session, failed: Exception | None) -> None:
    """For a session that waits for it; the others will ask again."""
    if failed is not None and not session.ended:
      self._room.fail(session, failed)

  def _begun(self, session: Session, now: float) -> _Begun | None:
    try:
      kinds = frozenset(viewer.kind for viewer in session.viewers)
      return _Begun(session, session.take, session.begin(now), kinds)
    except Exception as error:
      self._room.fail(session, error)
      return None

  def _make(self, settings: Settings, begun: Sequence[_Begun]) -> None:
    """Without the lock, but for the giving out."""
    start = self._clock()
    try:
      turns = [one.asked.turn for one in begun]
      done = self.slots.run(settings, turns)
    except Exception as error:
      with self._room.changed:
        for one in begun:
          self._room.fail(one.session, error)
      return
    for one, of in zip(begun, done, strict=True):
      try:
        made = develop(self._room.director, one.asked, of)
        frames = {kind: _encode(made, kind) for kind in one.kinds}
      except Exception as error:
        with self._room.changed:
          self._room.fail(one.session, error)
      else:
        with self._room.changed:
          self._give(one, made, frames, self._clock() - start)
    secs = self._clock() - start
    self._turn_secs = max(secs, _CALM * self._turn_secs + (1 - _CALM) * secs)

  def _give(
    self,
    one: _Begun,
    made: Made,
    frames: dict[str, list[bytes]],
    secs: float,
  ) -> None:
    session = one.session
    if session.take != one.take or session.ended:
      return  # it went back, or away, while this was made
    try:
      event = session.finish(made, self._clock(), secs)
    except UserError as error:  # a disk that is full
      self._room.fail(session, error)
      return
    for viewer in session.viewers:
      images = enumerate(frames.get(viewer.kind, ()), event['frame'])
      packed = [HEADER.pack(one.take, n) + image for n, image in images]
      viewer.post(event, packed)
    opens = session.reel.journal.segments[-1].chunks == 1
    if opens or not session.rolling:
      self._room.tell(session)
      self._room.save_journal(session)

  def _warm(self) -> float:
    """Compiles the decoder's two programs; -> seconds of a later chunk."""
    director = self._room.director
    reel, start = Reel(director, 0, 0), 0.0
    reel.say(Segment('a film', chunks=1))
    for _ in range(3):
      start = self._clock()
      asked = reel.begin()
      (done,) = self.slots.run(Settings(), [asked.turn])
      reel.finish(develop(director, asked, done))
    return self._clock() - start


def _encode(made: Made, kind: str) -> list[bytes]:
  return [media.encode_frame(frame_YXC, kind) for frame_YXC in made.video_TYXC]
