"""Measures whether films get worse towards their end.

Each metric is sampled along a film, once per segment: (seconds at which the
segment starts, value in the segment). Two summaries follow:

  curve   the mean in each of 12 equal spans of film time, over all films (1)
  ends    the means in the first and in the last minute of each film, or in
          its first and last third if it is shorter than three minutes    (2)

The metrics are place, size and action (1 where right), unreadable, flicker and
motion; contrast (the standard deviation of a frame's values) and saturation
(the mean of max - min over a pixel's colours), both divided by 255, which rise
when an autoregressive film burns out; steady_X, eq. (1) of consistency.py with
features X; cut, 1 where a requested cut was detected within four frames; and
recall in every shot in which a character returns, against the appearance in
its first shot.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cinejax.evaluation.metrics import consistency, prompts, recall
from cinejax.film.sheet import Row
from cinejax.story import read_back

Sample = tuple[float, float]  # seconds from the film's start, value
Series = Mapping[str, Sequence[Sample]]

_TOLERANCE = 4  # frames by which a detected cut may be off
_MINUTE = 60.0  # seconds
_SPANS = 12  # points of a curve


def sample_film(
  video_TYXC: np.ndarray,
  rows: Sequence[Row],
  fps: float,
  readings: read_back.Readings | None,
  detected: Sequence[int],
  features: Mapping[str, np.ndarray],
) -> Series:
  """Samples every metric along a film.

  Args:
    video_TYXC: uint8; may be memory-mapped.
    rows: the film's segments.
    fps: frames per second.
    readings: of the film's frames; None if it is no story film.
    detected: pixel frames of the detected cuts.
    features: [T, D] of the film's frames, by name.
  """
  series: dict[str, list[Sample]] = {}

  def add(name: str, row: Row, value: float | None) -> None:
    if value is not None:
      series.setdefault(name, []).append((row.start / fps, float(value)))

  for row in rows:
    own = slice(row.start, row.stop)
    for name, value in _pixels(video_TYXC[own]).items():
      add(name, row, value)
    for name, features_TD in features.items():
      steady = consistency.subject_consistency(features_TD[own])
      add(f'steady_{name}', row, steady)
    if row.cut:
      near = [abs(cut - row.start) <= _TOLERANCE for cut in detected]
      add('cut', row, any(near))
  if readings is not None:
    _sample_story(rows, readings, add)
  return series


def _sample_story(
  rows: Sequence[Row],
  readings: read_back.Readings,
  add: Callable[[str, Row, float], None],
) -> None:
  """Adds what can be read in story films alone."""
  segments = prompts.requested_segments(rows)
  readback = prompts.read_segments(readings, rows)
  for row, requested, shown in zip(rows, segments, readback, strict=True):
    for name in ('place', 'size', 'action') if requested else ():
      add(name, row, getattr(requested, name) == getattr(shown, name))
    own = slice(row.start, row.stop)
    add('unreadable', row, 1 - readings.readable[own].mean())
  first_row = {row.shot: row for row in reversed(rows)}
  for first, again in recall.return_shots(rows):
    pair = recall.film_recall_pair(readings, rows, first, again)
    add('recall', first_row[again], recall.is_right(pair))


def curve(
  series: Sequence[Series], length_secs: float
) -> dict[str, list[dict[str, float]]]:
  """Eq. (1): for each metric {secs, mean, std, n} of every span with samples.

  Args:
    series: of each film.
    length_secs: of the longest film.
  """
  width = length_secs / _SPANS
  curves = {}
  for name in _names(series):
    pairs = [pair for one in series for pair in one.get(name, ())]
    secs, values = np.asarray(pairs).T
    span_of = (secs / width).astype(int)
    curves[name] = [
      {
        'secs': float((span + 0.5) * width),
        'mean': float(values[span_of == span].mean()),
        'std': float(values[span_of == span].std()),
        'n': int((span_of == span).sum()),
      }
      for span in np.unique(span_of)
    ]
  return curves


def ends(
  one: Series, length_secs: float
) -> dict[str, tuple[float | None, float | None]]:
  """Eq. (2) for one film: for each metric the first and the last mean.

  None for an end without samples.
  """
  span, found = end_span(length_secs), {}
  for name, pairs in one.items():
    secs, values = np.asarray(pairs).T
    parts = values[secs < span], values[secs >= length_secs - span]
    found[name] = tuple(float(p.mean()) if len(p) else None for p in parts)
  return found


def end_span(length_secs: float) -> float:
  """Seconds of the first and of the last span of eq. (2)."""
  return min(_MINUTE, length_secs / 3)


def _names(series: Sequence[Series]) -> list[str]:
  return list(dict.fromkeys(name for one in series for name in one))


def _pixels(shot_TYXC: np.ndarray) -> dict[str, float | None]:
  spread = [
    (frame.std(), (frame.max(-1) - frame.min(-1)).mean()) for frame in shot_TYXC
  ]
  contrast, saturation = np.mean(spread, axis=0) / 255
  return {
    'flicker': consistency.flicker(shot_TYXC),
    'motion': consistency.motion(shot_TYXC),
    'contrast': float(contrast),
    'saturation': float(saturation),
  }
