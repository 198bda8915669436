"""One director's film: what is planned, how it runs, who watches.

A direction for now, or for a time, lies in the plan until the chunk it falls
on is begun; several that fall on one chunk become one. All methods are called
under the studio's lock, with its clock's time where they take `now`.
"""

import dataclasses
import math
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.film.journal import Film, Segment, Settings
from cinejax.film.timeline import Timeline
from cinejax.serving.config import ServingConfig
from cinejax.serving.directions import ChunkDirection
from cinejax.serving.film.live_film import ChunkRequest, FinishedChunk, LiveFilm
from cinejax.serving.playback_clock import PlaybackClock
from cinejax.serving.viewer import Viewer

UNWATCHED = 'nobody is watching'


class PlannedDirection(NamedTuple):
  chunk: int
  direction: ChunkDirection
  received: float | None  # when; None: it was planned long before


class Session:
  """A film between its directors and the slots."""

  def __init__(
    self,
    live_film: LiveFilm,
    cfg: ServingConfig,
    timeline: Timeline,
    now: float,
    title: str = '',
    name: str = '',
  ):
    self.name = name or secrets.token_hex(8)
    self.title, self.live_film = title, live_film
    self.playback = PlaybackClock(cfg.lead_chunks)
    self.status, self.reason = 'waiting', 'a film begins with its first prompt'
    self.plan: list[PlannedDirection] = []
    self.end_chunk: int | None = None  # a screenplay's end
    # grows when the film goes back: what was made is void. No number comes
    # twice, so that a browser may keep the thumbnails of a take.
    self.revision = secrets.randbelow(2**30)
    self.last_seen, self.last_served = now, now
    self.viewers: list[Viewer] = []
    self.latency_secs: float | None = None  # of the last direction
    self._received: float | None = None  # when what is being made was asked for
    self._cfg, self._timeline = cfg, timeline

  @property
  def rolling(self) -> bool:
    return self.status == 'rolling'

  @property
  def ended(self) -> bool:
    return self.status in ('failed', 'closed')

  @property
  def can_be_freed(self) -> bool:
    """No chunk is being made; the one that failed never comes back."""
    return self.ended or not self.live_film.chunk_in_flight

  def add_direction(self, say: ChunkDirection, now: float) -> int:
    """Plans it; -> the chunk it falls on. A film that stood rolls again."""
    self._check_open()
    chunk = self._next_chunk
    if say.at_chunk is not None:
      chunk = max(chunk, say.at_chunk)
    elif say.at_secs is not None:
      pixel = round(say.at_secs * self._timeline.fps)
      chunk = max(chunk, self._timeline.nearest_chunk(pixel))
    if chunk >= self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    if len(self.plan) >= self._cfg.film_chunks:
      raise UserError('too much is planned already; hold forgets it')
    received = now if chunk == self._next_chunk else None
    self.plan.append(PlannedDirection(chunk, say, received))
    self.plan.sort(key=lambda planned: planned.chunk)
    if chunk == self._next_chunk and say.prompt is not None:
      self.resume()
    return chunk

  def run_screenplay(self, film: Film, now: float) -> None:
    """Plans what is left of a screenplay that begins with the film."""
    chunk = 0
    for segment in film.segments:
      said = ChunkDirection(
        segment.full_prompt,
        segment.cut,
        segment.blend_chunks,
        segment.settings,
        at_chunk=chunk,
      )
      if chunk >= self._next_chunk:
        self.add_direction(said, now)
      chunk += segment.chunks or self._timeline.chunks_for_secs(segment.secs)
    if chunk > self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    self.end_chunk = chunk

  def plan_to_json(self) -> dict[str, Any]:
    """The plan, for `restore`."""
    plan = [[one.chunk, dataclasses.asdict(one.direction)] for one in self.plan]
    return {'until': self.end_chunk, 'plan': plan}

  def restore(self, film: Film, planned: dict[str, Any] | None) -> None:
    """Plans what is left of `film` and what was planned beside it; stands."""
    self.run_screenplay(film, 0.0)
    self.end_chunk = (
      self.end_chunk if self.end_chunk > self._next_chunk else None
    )
    for chunk, told in (planned or {}).get('plan', ()):
      settings = Settings(*told.pop('settings'))
      self.plan.append(
        PlannedDirection(chunk, ChunkDirection(settings=settings, **told), None)
      )
    self.plan.sort(key=lambda one: one.chunk)
    self.end_chunk = (planned or {}).get('until') or self.end_chunk
    self.pause('restored')

  def hold(self) -> None:
    """The prompt stays; what was planned is forgotten."""
    self.plan = [one for one in self.plan if one.chunk <= self._next_chunk]
    self.end_chunk = None

  def pause(self, reason: str = '') -> None:
    if not self.ended:
      self.status, self.reason = 'paused', reason

  def resume(self) -> None:
    """Rolls, if there is something to be seen."""
    self._check_open()
    if self._next_chunk >= self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    if self.end_chunk is not None and self._next_chunk >= self.end_chunk:
      self.end_chunk = None
    if self.live_film.journal.segments or self._due(prompt=True):
      self.status, self.reason = 'rolling', ''

  def end(self, status: str, reason: str) -> None:
    self.status, self.reason, self.plan = status, reason, []

  def rewind(self, chunk: int) -> None:
    """Stands before `chunk`; a chunk that is being made is void."""
    self._check_open()
    self.live_film.rewind(chunk)
    self.revision += 1
    self.plan, self.end_chunk, self._received = [], None, None
    self.playback.reset()
    self.pause('say what comes next')

  def chunk_of_shot(self, shot: int) -> int:
    for entry in self.segments_to_json():
      if entry['shot'] == shot:
        return entry['chunk']
    raise UserError(f'there is no shot {shot} yet')

  def start_at(self, reserve_secs: float) -> float:
    """When the next chunk should be begun; inf = not for now."""
    if not self.rolling or self.live_film.chunk_in_flight:
      return math.inf
    return self.playback.start_at(bool(self._due()), reserve_secs)

  def next_settings(self) -> Settings:
    """Of the chunk that `begin` would begin."""
    settings = Settings()
    for segment in self.live_film.journal.segments:
      settings = settings.merged(segment.settings)
    for planned in self._due():
      settings = settings.merged(planned.direction.settings)
    return settings

  def start_chunk(self, now: float) -> ChunkRequest:
    """Takes what is due from the plan, and the state from the live_film."""
    self.last_served, due = now, self._due()
    if due:
      self.plan = self.plan[len(due) :]
      say = due[0].direction
      for planned in due[1:]:
        say = say.merged(planned.direction)
      self._received = due[0].received
      self.live_film.add_segment(self._segment(say))
    return self.live_film.start_chunk()

  def finish_chunk(
    self, chunk: FinishedChunk, now: float, generation_secs: float
  ) -> dict[str, Any]:
    """The chunk is made and goes on screen; -> what viewers are told."""
    place = self._timeline.chunk_start_pixel
    self.live_film.finish_chunk(chunk)
    frames = len(chunk.video_TYXC)
    start = self.playback.add_chunk(now, frames / self._timeline.fps)
    if self._received is not None:
      self.latency_secs, self._received = now - self._received, None
    if self.end_chunk is not None and self._next_chunk >= self.end_chunk:
      self.pause('the screenplay has ended')
    elif self._next_chunk >= self._cfg.film_chunks:
      self.pause(f'a film has {self._cfg.film_chunks} chunks at most')
    return {
      'type': 'chunk',
      'revision': self.revision,
      'chunk': chunk.chunk,
      'frame': place(chunk.chunk),
      'frames': frames,
      'starts_in_ms': round(1e3 * (start - now)),
      'generation_ms': round(1e3 * generation_secs),
      'latency_ms': _ms(self.latency_secs),
      'prompt': chunk.prompt.prompt,
      'shot': chunk.prompt.shot,
      'cut': chunk.prompt.cut,
      'segment': chunk.prompt.segment,
      'routed_frames': [
        [look.frame, round(look.share, 4)] for look in chunk.routed_frames
      ],
      'window': list(chunk.window),
    }

  def segments_to_json(self) -> list[dict[str, Any]]:
    """The strip: every segment, and the chunks it has."""
    told, chunk, shot = [], 0, 0
    for index, segment in enumerate(self.live_film.journal.segments):
      shot += segment.cut and index > 0
      told.append(
        {
          'prompt': segment.prompt,
          'shot': shot,
          'cut': segment.cut and index > 0,
          'chunk': chunk,
          'chunks': segment.chunks,
          'secs': self._timeline.chunk_start_pixel(chunk) / self._timeline.fps,
        }
      )
      chunk += segment.chunks
    return told

  def to_json(self) -> dict[str, Any]:
    """All that a client may know."""
    place, fps = self._timeline.chunk_start_pixel, self._timeline.fps
    return {
      'type': 'session',
      'id': self.name,
      'title': self.title,
      'seed': self.live_film.seed,
      'status': self.status,
      'reason': self.reason,
      'revision': self.revision,
      'chunks': self.live_film.chunks,
      'secs': place(self.live_film.chunks) / fps,
      'latency_ms': _ms(self.latency_secs),
      'settings': self.next_settings()._asdict(),
      'segments': self.segments_to_json(),
      'planned': [
        {
          'chunk': planned.chunk,
          'secs': place(planned.chunk) / fps,
          'prompt': planned.direction.prompt,
          'cut': planned.direction.cut,
        }
        for planned in self.plan[:32]
      ],
      'rewind_chunks': self.live_film.rewind_chunks,
      'viewers': len(self.viewers),
    }

  def screenplay(self) -> Film:
    """The journal, which is a screenplay."""
    return self.live_film.screenplay(self.title)

  @property
  def _next_chunk(self) -> int:
    """The first chunk that has not been begun."""
    return self.live_film.journal.chunks

  def _due(self, prompt: bool = False) -> Sequence[PlannedDirection]:
    """What falls on the next chunk; `prompt`: only what says what is seen."""
    return [
      one
      for one in self.plan
      if one.chunk <= self._next_chunk and (one.direction.prompt or not prompt)
    ]

  def _segment(self, say: ChunkDirection) -> Segment:
    said = self.live_film.journal.segments
    return Segment(
      say.prompt or said[-1].full_prompt,
      chunks=1,
      cut=say.cut,
      blend_chunks=0 if say.cut else say.blend_chunks,
      **say.settings._asdict(),
    )

  def _check_open(self) -> None:
    if self.ended:
      raise UserError(f'this session is {self.status}: {self.reason}')


def _ms(secs: float | None) -> int | None:
  return None if secs is None else round(1e3 * secs)
