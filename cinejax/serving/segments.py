"""The segments of a film in progress, as clients see them."""

from collections.abc import Sequence
from typing import Any

from cinejax.film.journal import Segment
from cinejax.film.timeline import Timeline


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
