"""A session: one film with its plan, its playback and its viewers.

A direction waits in the plan until the chunk for which it is meant starts;
several directions for one chunk are merged. All methods are called under the
registry's lock, and `now` is the time of the registry's clock.
"""

import math
import secrets
from typing import Any

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Settings, too_long
from cinejax.film.timeline import Timeline
from cinejax.serving.config import ServingConfig
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film.archive import new_name
from cinejax.serving.film.chunk import ChunkRequest, FinishedChunk
from cinejax.serving.film.history import History, Step
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.plan import Plan
from cinejax.serving.playback_clock import PlaybackClock
from cinejax.serving.segments import (
  ms,
  segments_to_json,
  session_to_json,
)
from cinejax.serving.viewer import Viewer

UNWATCHED = 'nobody is watching'
NEXT_PROMPT = 'say what comes next'


class Session:
  """A film, and the state of the session that directs it."""

  def __init__(
    self,
    live_film: LiveFilm,
    cfg: ServingConfig,
    timeline: Timeline,
    now: float,
    title: str = '',
    name: str = '',
    history: History | None = None,
  ):
    """A film that waits for its first prompt; `name` '' makes a new name."""
    self.name = name or new_name()
    self.title, self.live_film = title, live_film
    self.playback = PlaybackClock(cfg.lead_chunks)
    # waiting | rolling | paused | failed | closed
    self.status, self.reason = 'waiting', 'a film begins with its first prompt'
    self.plan = Plan(live_film.write)
    self.history = history or History()
    # Increases whenever the film is rewound, which makes chunks obsolete. It
    # starts at random, so that a browser never shows a cached thumbnail of
    # another revision.
    self.revision = secrets.randbelow(2**30)
    self.last_seen, self.last_served = now, now
    self.viewers: list[Viewer] = []
    self.compiling = 0  # programs that its film waits for
    self.latency_secs: float | None = None  # of the last direction
    self._received: float | None = None  # of the direction in generation
    self._cfg, self._timeline = cfg, timeline

  @property
  def rolling(self) -> bool:
    return self.status == 'rolling'

  @property
  def shown_title(self) -> str:
    """Its title, or else its first prompt; '' if it has none."""
    segments = self.live_film.journal.segments
    return self.title or (segments[0].prompt if segments else '')

  @property
  def ended(self) -> bool:
    return self.status in ('failed', 'closed')

  @property
  def can_be_freed(self) -> bool:
    """Whether no chunk is in flight, and its film waits for no program."""
    busy = self.live_film.chunk_in_flight or self.compiling
    return self.ended or not busy

  def add_direction(self, direction: ChunkDirection, now: float | None) -> int:
    """Plans `direction`, which can be undone, and returns its chunk.

    A prompt for the next chunk resumes a film that has stopped.

    Raises:
      UserError: if the session has ended, if the film would become too long,
        or if the plan is full.
    """
    self.check_open()
    chunk = self.next_chunk
    if direction.at_chunk is not None:
      chunk = max(chunk, direction.at_chunk)
    elif direction.at_secs is not None:
      pixel = round(direction.at_secs * self._timeline.fps)
      chunk = max(chunk, self._timeline.nearest_chunk(pixel))
    elif direction.prompt is not None:
      chunk = max(chunk, self.plan.held_until)
    self.check_length(chunk + 1)
    if len(self.plan.directions) >= self._cfg.film_chunks:
      raise UserError('too much is planned already; hold forgets the plan')
    received = now if chunk == self.next_chunk else None
    step = self.step('direction', chunk)
    self.plan.add(chunk, direction, received, step=True)
    self.history.add(step)
    if chunk == self.next_chunk and direction.prompt is not None:
      self.resume()
    return chunk

  def run_screenplay(self, film: Film, now: float | None) -> None:
    """Plans the rest of a screenplay whose beginning is the film so far.

    Args:
      film: the screenplay.
      now: None: it was planned before, and the film does not roll at once.
    """
    lengths = [
      segment.chunks or self._timeline.chunks_for_secs(segment.secs)
      for segment in film.segments
    ]
    self.check_length(sum(lengths))
    self.plan.add_rest(film.segments, lengths, self.next_chunk, now)
    if now is not None:
      self.resume()

  def hold(self) -> None:
    """Keeps the current prompt and forgets the plan."""
    chunk = self.next_chunk
    step = self.step('plan', chunk)
    self.plan.keep_due(chunk, **{'from': chunk, 'step': True})
    self.history.add(step)

  def pause(self, reason: str = '') -> None:
    if not self.ended:
      self.status, self.reason = 'paused', reason

  def resume(self) -> None:
    """Rolls the film, if it has a prompt.

    Raises UserError if the session has ended or the film is at its longest.
    """
    self.check_open()
    self.check_length(self.next_chunk + 1)
    end = self.plan.end_chunk
    if end is not None and self.next_chunk >= end:
      self.plan.end_chunk = None
    due = self.plan.due(self.next_chunk)
    has_prompt = any(planned.direction.prompt for planned in due)
    if self.live_film.journal.segments or has_prompt:
      self.status, self.reason = 'rolling', ''

  def end(self, status: str, reason: str) -> None:
    self.status, self.reason = status, reason
    self.plan.directions = []

  def step(
    self, name: str, chunk: int | None = None, end: int | None = None
  ) -> Step:
    """The step that changes the film or its plan next (film/history.py)."""
    hidden = self.live_film.tree.hidden
    return Step(name, self.plan.state(), hidden, chunk, end)

  def go(self, end: int) -> None:
    """Takes the film to the end `end` of its tree."""
    self.plan_damaged(self.live_film.go(end))

  def plan_damaged(self, film: Film) -> None:
    """Plans the chunks of `film` again whose data are damaged, if any are."""
    if self.live_film.chunks < sum(one.chunks for one in film.segments):
      self.plan_rest(film, self.plan.to_json())

  def plan_rest(self, film: Film, planned: dict[str, Any]) -> None:
    """Plans what comes after the chunks that the film has.

    Args:
      film: a screenplay whose beginning is the film so far.
      planned: what is planned besides (`Plan.to_json`).
    """
    with self.plan.at_once():
      self.plan.clear()
      self.run_screenplay(film, None)
      if self.plan.end_chunk <= self.live_film.chunks:
        self.plan.end_chunk = None
      self.plan.load(planned)

  def moved(self, reason: str) -> None:
    """The film has gone elsewhere: it pauses, and drops a chunk in flight."""
    self.revision += 1
    self._received = None
    self.playback.reset()
    self.pause(reason)

  def start_at(self, reserve_secs: float) -> float:
    """When the next chunk should start; inf while the film does not roll."""
    if self.ended or self.live_film.chunk_in_flight:
      return math.inf
    if self.live_film.replaying or not self.rolling:
      # A paused film replays as well, so that it can roll at once.
      return 0.0 if self.live_film.replaying else math.inf
    waits = bool(self.plan.due(self.next_chunk))
    return self.playback.start_at(waits, reserve_secs)

  def call_settings(self) -> Settings:
    """The settings of the chunk that `start_chunk` would start."""
    film = self.live_film
    return film.replay_settings if film.replaying else self.next_settings()

  def next_settings(self) -> Settings:
    """The settings of the next chunk that is new."""
    settings = Settings()
    for segment in self.live_film.journal.segments:
      settings = settings.merged(segment.settings)
    for planned in self.plan.due(self.next_chunk):
      settings = settings.merged(planned.direction.settings)
    return settings

  def start_chunk(self, now: float) -> ChunkRequest:
    """Starts the next chunk with the directions that are due for it."""
    self.last_served = now
    if self.live_film.replaying:
      return self.live_film.start_chunk()
    planned = self.plan.take_due(self.next_chunk)
    if planned is not None:
      self._received = planned.received
      segments = self.live_film.journal.segments
      prompt = segments[-1].full_prompt if segments else ''
      self.live_film.add_segment(planned.direction.segment(prompt))
    return self.live_film.start_chunk()

  def finish_chunk(
    self, chunk: FinishedChunk, now: float, generation_secs: float
  ) -> dict[str, Any]:
    """Adds a finished chunk to the film.

    Returns:
      The event for the viewers, as JSON.

    Raises:
      UserError: if the disk is full.
    """
    self.live_film.finish_chunk(chunk)
    self.plan.forget_taken()
    secs = len(chunk.video_TYXC) / self._timeline.fps
    start = self.playback.add_chunk(now, secs)
    if self._received is not None:
      self.latency_secs, self._received = now - self._received, None
    end = self.plan.end_chunk
    if end is not None and self.next_chunk >= end:
      self.pause('the screenplay has ended')
    elif self.next_chunk >= self._cfg.film_chunks:
      self.pause(too_long(self._cfg.film_chunks))
    # as on the page, shots count from 1
    shots = [shot + 1 for shot in self.live_film.journal.chunk_shots]
    names = [one.name for one in self.live_film.cast]
    return {
      'type': 'chunk',
      'revision': self.revision,
      'frame': self._timeline.chunk_start_pixel(chunk.chunk),
      'stored': self.live_film.tree.end,
      'starts_in_ms': round(1e3 * (start - now)),
      'generation_ms': round(1e3 * generation_secs),
      'latency_ms': ms(self.latency_secs),
      **chunk.to_json(),
      'words': chunk.reads.words(shots, self._timeline, names),
    }

  def segments_to_json(self) -> list[dict[str, Any]]:
    """All segments with their chunks, shots and start times."""
    return segments_to_json(self.live_film.journal.segments, self._timeline)

  def to_json(self) -> dict[str, Any]:
    """The state of the session for clients."""
    return session_to_json(self, self._timeline)

  def screenplay(self) -> Film:
    """The journal of the film."""
    return self.live_film.screenplay(self.title)

  @property
  def next_chunk(self) -> int:
    """The first chunk that has not started."""
    return self.live_film.journal.chunks

  def check_open(self) -> None:
    """Raises UserError if the session has ended."""
    if self.ended:
      raise UserError(f'this session is {self.status}: {self.reason}')

  def check_length(self, chunks: int) -> None:
    """Raises UserError if no film may have so many chunks."""
    if chunks > self._cfg.film_chunks:
      raise UserError(too_long(self._cfg.film_chunks))
