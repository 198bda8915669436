"""A session and the segments of its film, as clients see them."""

from collections.abc import Sequence
from typing import Any

from cinejax.film.journal import Segment
from cinejax.film.timeline import Timeline
from cinejax.serving.film.takes import runs

_LISTED_DIRECTIONS = 32  # the first of the plan


def segments_to_json(
  segments: Sequence[Segment], timeline: Timeline
) -> list[dict[str, Any]]:
  """All segments with their chunks, shots and start times."""
  entries, chunk, shot = [], 0, 0
  for index, segment in enumerate(segments):
    cut = segment.cut and index > 0
    shot += cut
    entries.append(
      {
        'prompt': segment.prompt,
        'shot': shot,
        'cut': cut,
        'chunk': chunk,
        'chunks': segment.chunks,
        'secs': timeline.chunk_start_pixel(chunk) / timeline.fps,
      }
    )
    chunk += segment.chunks
  return entries


def session_to_json(session: Any, timeline: Timeline) -> dict[str, Any]:
  """The state of a Session for clients."""
  live_film = session.live_film

  def start_secs(chunk: int) -> float:
    return timeline.chunk_start_pixel(chunk) / timeline.fps

  return {
    'type': 'session',
    'id': session.name,
    'title': session.shown_title,
    'seed': live_film.seed,
    'status': session.status,
    'reason': session.reason,
    'revision': session.revision,
    'chunks': live_film.chunks,
    'secs': start_secs(live_film.chunks),
    'latency_ms': ms(session.latency_secs),
    'settings': session.next_settings()._asdict(),
    'segments': session.segments_to_json(),
    'planned': [
      {
        'chunk': planned.chunk,
        'secs': start_secs(planned.chunk),
        'prompt': planned.direction.prompt,
        'cut': planned.direction.cut,
      }
      for planned in session.plan.directions[:_LISTED_DIRECTIONS]
    ],
    'planned_more': max(0, len(session.plan.directions) - _LISTED_DIRECTIONS),
    'end_chunk': session.plan.end_chunk,
    'cast': [one.name for one in live_film.cast],
    'rewind_chunks': live_film.rewind_chunks,
    'stored': runs(live_film.tree.path),
    'takes': [one.to_json() for one in live_film.tree.alternatives()],
    'undo': session.history.name(redo=False),
    'redo': session.history.name(redo=True),
    'viewers': len(session.viewers),
    'compiling': session.compiling,
  }


def ms(secs: float | None) -> int | None:
  """Whole milliseconds; None stays None."""
  return None if secs is None else round(1e3 * secs)
