"""What a film shows, beside what its screenplay asked for.

Cuts are known in any film. Place, size and action are read back from the
pixels of story films (64x64) segment by segment, and compared with prompts
of the story grammar; elsewhere they are undefined, None.
"""

from collections.abc import Sequence

import numpy as np

from cinejax.evaluation.metrics import cut_scores
from cinejax.film.sheet import Row
from cinejax.story import read_back, world

Figures = dict[str, float | None]


def cut_figures(
  detected: Sequence[int],
  rows: Sequence[Row],
  matching: str = 'greedy',
  penalty_frames: float | None = None,
) -> Figures:
  """sca, nsd and transition_deviation (frames), see cut_scores.py; false_cuts.

  Args:
    detected: frames of the cuts found in the film.
    rows: the film's segments.
    matching: of cuts found to cuts asked for; and
    penalty_frames: as in `shots.score_cuts`.
  """
  asked_for, frames = cut_frames(rows), rows[-1].stop
  continued = [row.start for row in rows if row.start and not row.cut]
  score = cut_scores.score_cuts(
    detected, asked_for, frames, matching, penalty_frames
  )
  return {
    'sca': score.sca,
    'nsd': score.nsd,
    'transition_deviation': score.transition_deviation,
    'false_cuts': cut_scores.false_cuts(detected, continued),
  }


def cut_frames(rows: Sequence[Row]) -> tuple[int, ...]:
  """First frames of the shots asked for, but of the first."""
  return tuple(row.start for row in rows if row.cut)


def asked(rows: Sequence[Row]) -> tuple[world.StorySegment | None, ...]:
  """What each prompt asks for; None where it is not in the grammar."""
  return tuple(world.parse_prompt(row.caption) for row in rows)


def is_readable(video_TYXC: np.ndarray, rows: Sequence[Row]) -> bool:
  """Whether there is anything to read back and to compare it with."""
  return video_TYXC.shape[1:3] == (world.HEIGHT, world.WIDTH) and any(
    asked(rows)
  )


def read_segments(
  readings: read_back.Readings, rows: Sequence[Row]
) -> tuple[read_back.ShotReading, ...]:
  """The modal reading of each segment."""
  return tuple(
    read_back.read_shot(readings, row.start, row.stop) for row in rows
  )


def prompt_figures(
  readings: read_back.Readings, rows: Sequence[Row]
) -> Figures:
  """place, size and action: shares of segments that show what they say."""
  pairs = [
    (want, seen)
    for want, seen in zip(
      asked(rows), read_segments(readings, rows), strict=True
    )
    if want is not None
  ]
  return {
    name: mean([getattr(a, name) == getattr(b, name) for a, b in pairs])
    for name in ('place', 'size', 'action')
  }


def in_words(
  readings: read_back.Readings, rows: Sequence[Row]
) -> list[dict[str, str | int | None]]:
  """The readings of each segment for people, beside its prompt."""

  def word(words: Sequence[object], index: int) -> str | None:
    return str(words[index]) if index >= 0 else None

  return [
    {
      'shot': row.shot,
      'start': row.start,
      'stop': row.stop,
      'prompt': row.caption,
      'look': word(world.APPEARANCES, seen.appearance),
      'place': word(world.PLACES, seen.place),
      'size': word(world.SIZES, seen.size),
      'action': word(world.ACTIONS, seen.action),
    }
    for row, seen in zip(rows, read_segments(readings, rows), strict=True)
  ]


def mean(values: Sequence[float]) -> float | None:
  """None of nothing."""
  return float(np.mean(values)) if len(values) else None
