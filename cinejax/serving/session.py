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
from cinejax.serving.directions import Say
from cinejax.serving.film.live_film import Asked, Made, Reel
from cinejax.serving.pace import Pace
from cinejax.serving.viewer import Viewer

UNWATCHED = 'nobody is watching'


class Planned(NamedTuple):
  chunk: int
  say: Say
  received: float | None  # when; None: it was planned long before


class Session:
  """A film between its directors and the slots."""

  def __init__(
    self,
    reel: Reel,
    cfg: ServingConfig,
    timeline: Timeline,
    now: float,
    title: str = '',
    name: str = '',
  ):
    self.name = name or secrets.token_hex(8)
    self.title, self.reel = title, reel
    self.pace = Pace(cfg.lead_chunks)
    self.status, self.reason = 'waiting', 'a film begins with its first prompt'
    self.plan: list[Planned] = []
    self.until: int | None = None  # a screenplay's end
    # grows when the film goes back: what was made is void. No number comes
    # twice, so that a browser may keep the stills of a take.
    self.take = secrets.randbelow(2**30)
    self.seen, self.served = now, now
    self.viewers: list[Viewer] = []
    self.latency_secs: float | None = None  # of the last direction
    self._asked: float | None = None  # when what is being made was asked for
    self._cfg, self._timeline = cfg, timeline

  @property
  def rolling(self) -> bool:
    return self.status == 'rolling'

  @property
  def ended(self) -> bool:
    return self.status in ('failed', 'closed')

  @property
  def can_leave(self) -> bool:
    """No chunk is being made; the one that failed never comes back."""
    return self.ended or not self.reel.away

  def say(self, say: Say, now: float) -> int:
    """Plans it; -> the chunk it falls on. A film that stood rolls again."""
    self._check_lives()
    chunk = self._next
    if say.at_chunk is not None:
      chunk = max(chunk, say.at_chunk)
    elif say.at_secs is not None:
      pixel = round(say.at_secs * self._timeline.fps)
      chunk = max(chunk, self._timeline.nearest_chunk(pixel))
    if chunk >= self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    if len(self.plan) >= self._cfg.film_chunks:
      raise UserError('too much is planned already; hold forgets it')
    received = now if chunk == self._next else None
    self.plan.append(Planned(chunk, say, received))
    self.plan.sort(key=lambda planned: planned.chunk)
    if chunk == self._next and say.prompt is not None:
      self.resume()
    return chunk

  def run(self, film: Film, now: float) -> None:
    """Plans what is left of a screenplay that begins with the film."""
    chunk = 0
    for segment in film.segments:
      said = Say(
        segment.bare,
        segment.cut,
        segment.blend_chunks,
        segment.settings,
        at_chunk=chunk,
      )
      if chunk >= self._next:
        self.say(said, now)
      chunk += segment.chunks or self._timeline.chunks_for_secs(segment.secs)
    if chunk > self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    self.until = chunk

  def planned(self) -> dict[str, Any]:
    """The plan, for `restore`."""
    plan = [[one.chunk, dataclasses.asdict(one.say)] for one in self.plan]
    return {'until': self.until, 'plan': plan}

  def restore(self, film: Film, planned: dict[str, Any] | None) -> None:
    """Plans what is left of `film` and what was planned beside it; stands."""
    self.run(film, 0.0)
    self.until = self.until if self.until > self._next else None
    for chunk, told in (planned or {}).get('plan', ()):
      settings = Settings(*told.pop('settings'))
      self.plan.append(Planned(chunk, Say(settings=settings, **told), None))
    self.plan.sort(key=lambda one: one.chunk)
    self.until = (planned or {}).get('until') or self.until
    self.pause('restored')

  def hold(self) -> None:
    """The prompt stays; what was planned is forgotten."""
    self.plan = [one for one in self.plan if one.chunk <= self._next]
    self.until = None

  def pause(self, reason: str = '') -> None:
    if not self.ended:
      self.status, self.reason = 'paused', reason

  def resume(self) -> None:
    """Rolls, if there is something to be seen."""
    self._check_lives()
    if self._next >= self._cfg.film_chunks:
      raise UserError(f'a film has {self._cfg.film_chunks} chunks at most')
    if self.until is not None and self._next >= self.until:
      self.until = None
    if self.reel.journal.segments or self._due(prompt=True):
      self.status, self.reason = 'rolling', ''

  def end(self, status: str, reason: str) -> None:
    self.status, self.reason, self.plan = status, reason, []

  def rewind(self, chunk: int) -> None:
    """Stands before `chunk`; a chunk that is being made is void."""
    self._check_lives()
    self.reel.rewind(chunk)
    self.take += 1
    self.plan, self.until, self._asked = [], None, None
    self.pace.reset()
    self.pause('say what comes next')

  def chunk_of_shot(self, shot: int) -> int:
    for entry in self.segments():
      if entry['shot'] == shot:
        return entry['chunk']
    raise UserError(f'there is no shot {shot} yet')

  def begin_at(self, reserve_secs: float) -> float:
    """When the next chunk should be begun; inf = not for now."""
    if not self.rolling or self.reel.away:
      return math.inf
    return self.pace.begin_at(bool(self._due()), reserve_secs)

  def next_settings(self) -> Settings:
    """Of the chunk that `begin` would begin."""
    settings = Settings()
    for segment in self.reel.journal.segments:
      settings = settings.then(segment.settings)
    for planned in self._due():
      settings = settings.then(planned.say.settings)
    return settings

  def begin(self, now: float) -> Asked:
    """Takes what is due from the plan, and the state from the reel."""
    self.served, due = now, self._due()
    if due:
      self.plan = self.plan[len(due) :]
      say = due[0].say
      for planned in due[1:]:
        say = say.then(planned.say)
      self._asked = due[0].received
      self.reel.say(self._segment(say))
    return self.reel.begin()

  def finish(self, made: Made, now: float, made_secs: float) -> dict[str, Any]:
    """The chunk is made and goes on screen; -> what viewers are told."""
    place = self._timeline.chunk_start_pixel
    self.reel.finish(made)
    frames = len(made.video_TYXC)
    start = self.pace.made(now, frames / self._timeline.fps)
    if self._asked is not None:
      self.latency_secs, self._asked = now - self._asked, None
    if self.until is not None and self._next >= self.until:
      self.pause('the screenplay has ended')
    elif self._next >= self._cfg.film_chunks:
      self.pause(f'a film has {self._cfg.film_chunks} chunks at most')
    return {
      'type': 'chunk',
      'take': self.take,
      'chunk': made.chunk,
      'frame': place(made.chunk),
      'frames': frames,
      'starts_in_ms': round(1e3 * (start - now)),
      'made_ms': round(1e3 * made_secs),
      'latency_ms': _ms(self.latency_secs),
      'prompt': made.said.prompt,
      'shot': made.said.shot,
      'cut': made.said.cut,
      'segment': made.said.segment,
      'looks': [[look.frame, round(look.share, 4)] for look in made.looks],
      'window': list(made.window),
    }

  def segments(self) -> list[dict[str, Any]]:
    """The strip: every segment, and the chunks it has."""
    told, chunk, shot = [], 0, 0
    for index, segment in enumerate(self.reel.journal.segments):
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

  def told(self) -> dict[str, Any]:
    """All that a client may know."""
    place, fps = self._timeline.chunk_start_pixel, self._timeline.fps
    return {
      'type': 'session',
      'id': self.name,
      'title': self.title,
      'seed': self.reel.seed,
      'status': self.status,
      'reason': self.reason,
      'take': self.take,
      'chunks': self.reel.chunks,
      'secs': place(self.reel.chunks) / fps,
      'latency_ms': _ms(self.latency_secs),
      'settings': self.next_settings()._asdict(),
      'segments': self.segments(),
      'planned': [
        {
          'chunk': planned.chunk,
          'secs': place(planned.chunk) / fps,
          'prompt': planned.say.prompt,
          'cut': planned.say.cut,
        }
        for planned in self.plan[:32]
      ],
      'kept': self.reel.kept,
      'viewers': len(self.viewers),
    }

  def film(self) -> Film:
    """The journal, which is a screenplay."""
    return self.reel.film(self.title)

  @property
  def _next(self) -> int:
    """The first chunk that has not been begun."""
    return self.reel.journal.chunks

  def _due(self, prompt: bool = False) -> Sequence[Planned]:
    """What falls on the next chunk; `prompt`: only what says what is seen."""
    return [
      one
      for one in self.plan
      if one.chunk <= self._next and (one.say.prompt or not prompt)
    ]

  def _segment(self, say: Say) -> Segment:
    said = self.reel.journal.segments
    return Segment(
      say.prompt or said[-1].bare,
      chunks=1,
      cut=say.cut,
      blend_chunks=0 if say.cut else say.blend_chunks,
      **say.settings._asdict(),
    )

  def _check_lives(self) -> None:
    if self.ended:
      raise UserError(f'this session is {self.status}: {self.reason}')


def _ms(secs: float | None) -> int | None:
  return None if secs is None else round(1e3 * secs)
