"""What a film shows, compared with what its screenplay asks for.

Cuts can be detected in any film. Place, size and action are read back from the
pixels of story films (64x64), segment by segment, and compared with prompts of
the story grammar; for other films and prompts they are undefined (None).
"""

from collections.abc import Sequence

import numpy as np

from cinejax.evaluation.metrics import cut_scores
from cinejax.film.sheet import Row
from cinejax.story import read_back, world

MetricValues = dict[str, float | None]


def cut_metrics(
  detected: Sequence[int],
  rows: Sequence[Row],
  matching: str = 'greedy',
  penalty_frames: float | None = None,
) -> MetricValues:
  """sca, nsd, transition_deviation (frames) and false_cuts (cut_scores.py).

  Args:
    detected: pixel frames of the cuts found in the film.
    rows: the film's segments.
    matching: greedy | optimal, of detected to requested cuts.
    penalty_frames: of a missed or extra cut; None = the mean shot length.
  """
  requested, frames = requested_cuts(rows), rows[-1].stop
  continued = [row.start for row in rows if row.start and not row.cut]
  score = cut_scores.score_cuts(
    detected, requested, frames, matching, penalty_frames
  )
  return {
    'sca': score.sca,
    'nsd': score.nsd,
    'transition_deviation': score.transition_deviation,
    'false_cuts': cut_scores.false_cuts(detected, continued),
  }


def requested_cuts(rows: Sequence[Row]) -> tuple[int, ...]:
  """First pixel frames of all requested shots but the first."""
  return tuple(row.start for row in rows if row.cut)


def requested_segments(
  rows: Sequence[Row],
) -> tuple[world.StorySegment | None, ...]:
  """What each prompt asks for; None if it is not in the story grammar."""
  return tuple(world.parse_prompt(row.caption) for row in rows)


def is_readable(video_TYXC: np.ndarray, rows: Sequence[Row]) -> bool:
  """Whether a video has the size, and some prompt the grammar, of a story."""
  return video_TYXC.shape[1:3] == (world.HEIGHT, world.WIDTH) and any(
    requested_segments(rows)
  )


def read_segments(
  readings: read_back.Readings, rows: Sequence[Row]
) -> tuple[read_back.ShotReading, ...]:
  """The most frequent reading of each segment."""
  return tuple(
    read_back.read_shot(readings, row.start, row.stop) for row in rows
  )


def prompt_metrics(
  readings: read_back.Readings, rows: Sequence[Row]
) -> MetricValues:
  """place, size and action: shares of segments that show what they ask for."""
  pairs = [
    (requested, shown)
    for requested, shown in zip(
      requested_segments(rows), read_segments(readings, rows), strict=True
    )
    if requested is not None
  ]
  return {
    name: mean([getattr(a, name) == getattr(b, name) for a, b in pairs])
    for name in ('place', 'size', 'action')
  }


def describe_segments(
  readings: read_back.Readings, rows: Sequence[Row]
) -> list[dict[str, str | int | None]]:
  """Each segment, its prompt, and what is read back from it, in words."""

  def word(words: Sequence[object], index: int) -> str | None:
    return str(words[index]) if index >= 0 else None

  return [
    {
      'shot': row.shot,
      'start': row.start,
      'stop': row.stop,
      'prompt': row.caption,
      'appearance': word(world.APPEARANCES, shown.appearance),
      'place': word(world.PLACES, shown.place),
      'size': word(world.SIZES, shown.size),
      'action': word(world.ACTIONS, shown.action),
    }
    for row, shown in zip(rows, read_segments(readings, rows), strict=True)
  ]


def mean(values: Sequence[float]) -> float | None:
  """The mean as a float; None if there are no values."""
  return float(np.mean(values)) if len(values) else None
