"""The thread that generates the chunks of all sessions.

Among the sessions whose next chunk should start (playback_clock.py), the worker
takes the one that was served longest ago and those that can share its call
(film/slots.py). It generates their chunks without the lock and delivers them
under it. Programs for settings that are not compiled yet are compiled by
another thread in the meantime.
"""

import concurrent.futures
import functools
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from cinejax.core.errors import UserError
from cinejax.film import media
from cinejax.film.journal import Segment, Settings
from cinejax.serving.film.chunk import (
  ChunkRequest,
  FinishedChunk,
  decode_output,
)
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.slots import Slots
from cinejax.serving.registry import CapacityError, SessionRegistry
from cinejax.serving.session import Session
from cinejax.serving.viewer import HEADER

_IDLE_CHECK_SECS = 1.0
# A chunk starts so much sooner than it has to, because directions may delay it.
_MARGIN_SECS = 0.08
_DECAY = 0.9  # of the longest call in the running maximum


class _StartedChunk(NamedTuple):
  session: Session
  revision: int
  request: ChunkRequest
  formats: frozenset[str]  # image formats of its viewers


class RolloutWorker:
  """Compiles when it is constructed; generates from `start` to `stop`."""

  def __init__(self, registry: SessionRegistry):
    self._registry, self._clock = registry, registry.clock
    self.slots = Slots(registry.director, registry.cfg.slots)
    self._compiling: set[Settings] = set()
    self._compiler = concurrent.futures.ThreadPoolExecutor(1, 'compile')
    self._thread = threading.Thread(target=self._loop, daemon=True)
    self._call_secs = self._warm_up()

  def start(self) -> None:
    self._thread.start()

  def stop(self, timeout_secs: float) -> bool:
    """Waits for the chunk in flight; returns whether it finished in time."""
    self._compiler.shutdown(wait=False, cancel_futures=True)
    if self._thread.is_alive():
      self._thread.join(timeout_secs)
    return not self._thread.is_alive()

  def check(self, settings: Settings) -> None:
    """Raises UserError if the model or the server cannot follow `settings`.

    Programs that no rolling film uses make room for others.
    """
    self._registry.director.check_settings(settings)
    sessions = self._registry.sessions.values()
    used = {one.call_settings() for one in sessions if one.rolling}
    used |= self._compiling | {settings}
    most = self._registry.cfg.programs
    if len(used - {Settings()}) > most:
      raise CapacityError(
        f'films are rolling in {most} combinations of policy, steps and other '
        'settings, and this server has room for no more; take one of them'
      )
    sets = {self._registry.director.weights_key(one) for one in used}
    if len(sets) > 1 + self._registry.cfg.weight_sets:
      raise CapacityError(
        'films are rolling with as many students and LoRA strengths as this '
        'server has room for; take one of them'
      )

  def prepare_ahead(
    self, session: Session, settings: Iterable[Settings]
  ) -> None:
    """Compiles what a film needs later, as far as so much is kept."""
    for one in tuple(dict.fromkeys(settings))[: self._registry.cfg.programs]:
      if not self.slots.prepared(one) and one not in self._compiling:
        session.compiling += 1
        self.compile(one, functools.partial(self._compiled_ahead, session))

  def compile(
    self, settings: Settings, then: Callable[[Exception | None], None]
  ) -> None:
    """Compiles for `settings` on another thread.

    Args:
      settings: of later chunks.
      then: called under the lock at the end, with the error if there was one.
    """

    def work() -> None:
      failure: Exception | None = None
      try:
        self.slots.prepare(settings)
      except Exception as error:
        logging.exception('cannot compile %s', settings)
        failure = error
      with self._registry.changed:
        self._compiling.discard(settings)
        then(failure)
        self._registry.changed.notify_all()

    self._compiling.add(settings)
    self._compiler.submit(work)

  def _loop(self) -> None:
    registry, checked = self._registry, self._clock()
    while True:
      with registry.changed:
        started: list[_StartedChunk] = []
        while not started:
          if registry.closing:
            return
          now = self._clock()
          if now - checked >= _IDLE_CHECK_SECS:
            registry.save_idle(now)
            checked = now
          settings, started = self._start_batch(now)
          if not started:
            registry.changed.wait(self._wait_secs(now))
      self._generate(settings, started)

  def _wait_secs(self, now: float) -> float:
    reserve = self._reserve_secs()
    due = [s.start_at(reserve) - now for s in self._registry.sessions.values()]
    # A chunk that is due and did not start waits for a compilation, which
    # notifies this thread.
    return min([_IDLE_CHECK_SECS, *(secs for secs in due if secs > 0)])

  def _reserve_secs(self) -> float:
    """The time to generate a chunk if all other sessions are served first."""
    sessions = self._registry.sessions.values()
    calls = -(-sum(s.rolling for s in sessions) // self.slots.slots)
    return self._call_secs * calls + _MARGIN_SECS

  def _start_batch(self, now: float) -> tuple[Settings, list[_StartedChunk]]:
    """Starts the chunks of one call, if any are due."""
    reserve = self._reserve_secs()
    sessions = self._registry.sessions.values()
    due = [
      session
      for session in sessions
      if session.start_at(reserve) <= now and self._in_step(session)
    ]
    by_settings: dict[Settings, list[Session]] = {}
    # A film that only replays has time.
    for session in sorted(due, key=lambda s: (not s.rolling, s.last_served)):
      settings = session.call_settings()
      if self.slots.prepared(settings):
        by_settings.setdefault(settings, []).append(session)
      elif settings not in self._compiling:
        session.compiling += 1
        self.compile(settings, functools.partial(self._compiled, session))
        self._registry.notify(session)
    for settings, batch in by_settings.items():
      started = [self._start_chunk(s, now) for s in batch[: self.slots.slots]]
      return settings, [one for one in started if one is not None]
    return Settings(), []

  def _in_step(self, session: Session) -> bool:
    """Whether no film that is compared with this one is behind it."""
    groups = [
      names for names in self._registry.in_step if session.name in names
    ]
    others = (self._registry.sessions.get(n) for names in groups for n in names)
    chunks = session.live_film.chunks
    return all(
      other is None or not other.rolling or other.live_film.chunks >= chunks
      for other in others
    )

  def _compiled(self, session: Session, failure: Exception | None) -> None:
    """Ends the session whose program cannot be compiled."""
    self._compiled_ahead(session)
    if failure is not None and not session.ended:
      self._registry.fail(session, failure)

  def _compiled_ahead(
    self, session: Session, failure: Exception | None = None
  ) -> None:
    """A program is there, or will be compiled again when it is due."""
    session.compiling -= 1
    self._registry.notify(session)

  def _start_chunk(self, session: Session, now: float) -> _StartedChunk | None:
    try:
      formats = frozenset(viewer.image_format for viewer in session.viewers)
      request = session.start_chunk(now)
      return _StartedChunk(session, session.revision, request, formats)
    except Exception as error:
      self._registry.fail(session, error)
      return None

  def _generate(
    self, settings: Settings, started: Sequence[_StartedChunk]
  ) -> None:
    """Generates and delivers chunks; takes the lock only to deliver them."""
    start = self._clock()
    try:
      inputs = [one.request.slot_input for one in started]
      outputs = self.slots.run(settings, inputs)
    except Exception as error:
      with self._registry.changed:
        for one in started:
          self._registry.fail(one.session, error)
      return
    for one, output in zip(started, outputs, strict=True):
      try:
        chunk = decode_output(self._registry.director, one.request, output)
        images = {name: _encode(chunk, name) for name in one.formats}
      except Exception as error:
        with self._registry.changed:
          self._registry.fail(one.session, error)
      else:
        with self._registry.changed:
          self._deliver(one, chunk, images, self._clock() - start)
    secs = self._clock() - start
    self._call_secs = max(secs, _DECAY * self._call_secs + (1 - _DECAY) * secs)

  def _deliver(
    self,
    started: _StartedChunk,
    chunk: FinishedChunk,
    images: dict[str, Sequence[bytes]],
    secs: float,
  ) -> None:
    session = started.session
    if session.revision != started.revision or session.ended:
      return  # the film was rewound or closed in the meantime
    if started.request.replay:
      session.live_film.finish_chunk(chunk)
      self._registry.save_long(session)
      return
    try:
      event = session.finish_chunk(chunk, self._clock(), secs)
    except UserError as error:  # the disk is full
      self._registry.fail(session, error)
      return
    self._registry.save_long(session)
    for viewer in session.viewers:
      frames = enumerate(images.get(viewer.image_format, ()), event['frame'])
      packed = [HEADER.pack(started.revision, n) + image for n, image in frames]
      viewer.post(event, packed)
    opens_segment = session.live_film.journal.segments[-1].chunks == 1
    if opens_segment or not session.rolling:
      self._registry.notify(session)
      self._registry.save_journal(session)

  def _warm_up(self) -> float:
    """Compiles the programs of the decoder; returns seconds of a later chunk.

    The first chunk and the later ones have different programs.
    """
    director = self._registry.director
    live_film, start = LiveFilm(director, 0, 0), 0.0
    live_film.add_segment(Segment('a film', chunks=1))
    for _ in range(3):
      start = self._clock()
      request = live_film.start_chunk()
      (output,) = self.slots.run(Settings(), [request.slot_input])
      live_film.finish_chunk(decode_output(director, request, output))
    return self._clock() - start


def _encode(chunk: FinishedChunk, image_format: str) -> Sequence[bytes]:
  if image_format == 'jpeg':
    return chunk.stills
  return [
    media.encode_frame(frame_YXC, image_format)
    for frame_YXC in chunk.video_TYXC
  ]
