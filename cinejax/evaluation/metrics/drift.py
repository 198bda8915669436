"""Does a film get worse as it goes on?

Each metric is sampled along the film: (seconds at which a segment starts,
value of that segment). Of all films together this gives

  curve   the mean in each of some equal spans of film time              (1)
  ends    the mean in the first and in the last span of each film, a
          minute, or a third of a film of less than three minutes        (2)

Sampled are place, size and action (1 where right), unreadable, flicker and
motion; contrast (the deviation of a frame's pixels) and saturation (the mean
of max - min over a pixel's colours), both of 255, whose rise is how
autoregressive films burn out; steady_X, eq. (1) of consistency.py by features
X; cut, 1 where a requested cut was found within four frames; and recall, of
every shot that brings somebody back, against the look of her first shot.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cinejax.evaluation.metrics import consistency, prompts, recall
from cinejax.film.sheet import Row
from cinejax.story import read_back

Sample = tuple[float, float]  # seconds from the film's start, value
Series = Mapping[str, Sequence[Sample]]

_TOLERANCE = 4  # frames by which a cut may be off
_MINUTE = 60.0  # seconds
_SPANS = 12  # of a curve


def sample(
  video_TYXC: np.ndarray,
  rows: Sequence[Row],
  fps: float,
  readings: read_back.Readings | None,
  detected: Sequence[int],
  features: Mapping[str, np.ndarray],
) -> Series:
  """All of a film's samples.

  Args:
    video_TYXC: uint8.
    rows: its segments.
    fps: its frames a second.
    readings: of its frames; None where they cannot be read.
    detected: frames of the cuts found in it.
    features: [T, D] of its frames, by name.
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
  """What can be read of story films."""
  seen = prompts.read_segments(readings, rows)
  for row, want, shown in zip(rows, prompts.asked(rows), seen, strict=True):
    for name in ('place', 'size', 'action') if want else ():
      add(name, row, getattr(want, name) == getattr(shown, name))
    own = slice(row.start, row.stop)
    add('unreadable', row, 1 - readings.readable[own].mean())
  start_of = {row.shot: row for row in reversed(rows)}
  for first, again in recall.return_shots(rows):
    draw = recall.film_draw(readings, rows, first, again)
    add('recall', start_of[again], recall.is_right(draw))


def curve(
  series: Sequence[Series], length_secs: float
) -> dict[str, list[dict[str, float]]]:
  """Eq. (1): for each metric, {secs, mean, std, n} of the spans with samples.

  Args:
    series: of each film.
    length_secs: of the longest.
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
  """Eq. (2) of one film: (mean of the first span, of the last)."""
  span, found = end_span(length_secs), {}
  for name, pairs in one.items():
    secs, values = np.asarray(pairs).T
    parts = values[secs < span], values[secs >= length_secs - span]
    found[name] = tuple(float(p.mean()) if len(p) else None for p in parts)
  return found


def end_span(length_secs: float) -> float:
  """Seconds."""
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
