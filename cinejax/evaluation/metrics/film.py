"""What any film shows, whoever made it and of whatever world.

A film is looked at a few frames at a time, and some numbers a frame are all
that is kept, so it may be long, and lie on disk (np.memmap). What can be read
from story films alone is left out of others.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cinejax.evaluation.config import EvalConfig
from cinejax.evaluation.metrics import consistency, cuts, drift, prompts, recall
from cinejax.evaluation.metrics.features import PIXELS, Features, make_features
from cinejax.evaluation.metrics.recall import Draw
from cinejax.film.sheet import Row
from cinejax.story import read_back


@dataclasses.dataclass(frozen=True)
class Instruments:
  """With what a film is looked at."""

  detector_fn: Callable[[], cuts.Detector] = cuts.Content
  features: tuple[Features, ...] = (PIXELS,)
  matching: str = 'greedy'
  penalty_frames: float | None = None  # None = the mean length of a shot


def make_instruments(cfg: EvalConfig) -> Instruments:
  """Those of config.eval; raises UserError where weights are missing."""
  return Instruments(
    cuts.make_detector_fn(cfg.cuts),
    make_features(cfg.features),
    cfg.matching,
    cfg.penalty_frames or None,
  )


@dataclasses.dataclass(frozen=True)
class FilmScore:
  """What was measured of a film, or a part of it; parts add up by `|`."""

  values: Mapping[str, float | None]  # None: undefined for this film
  draws: Mapping[str, Draw]  # by name; their rightness is among the values
  looks: tuple[int, ...] = ()  # read in the first shot of each character
  series: drift.Series = dataclasses.field(default_factory=dict)

  def __or__(self, other: 'FilmScore') -> 'FilmScore':
    return FilmScore(
      {**self.values, **other.values},
      {**self.draws, **other.draws},
      self.looks + other.looks,
      {**self.series, **other.series},
    )


def look_at(
  video_TYXC: np.ndarray,
  rows: Sequence[Row],
  fps: float,
  instruments: Instruments,
  readings: read_back.Readings | None = None,
) -> FilmScore:
  """Everything that follows from a film's pixels and its screenplay.

  Args:
    video_TYXC: uint8.
    rows: its segments.
    fps: its frames a second.
    instruments: of cuts and consistency.
    readings: of its frames, if it is a story film.
  """
  detected = cuts.detect_cuts(video_TYXC, instruments.detector_fn())
  features = {f.name: f.of(video_TYXC) for f in instruments.features}
  asked_for = prompts.cut_frames(rows)
  values = {
    **prompts.cut_figures(
      detected, rows, instruments.matching, instruments.penalty_frames
    ),
    'flicker': consistency.flicker(video_TYXC, asked_for),
    'motion': consistency.motion(video_TYXC, asked_for),
    **_consistency(rows, detected, features),
    **_alignment(rows, features, instruments.features),
  }
  if readings is not None:
    values |= prompts.prompt_figures(readings, rows)
    values['unreadable'] = float(1 - readings.readable.mean())
  series = drift.sample(video_TYXC, rows, fps, readings, detected, features)
  return FilmScore(values, {}, (), series)


def _consistency(
  rows: Sequence[Row],
  detected: Sequence[int],
  features: Mapping[str, np.ndarray],
) -> prompts.Figures:
  """Within the shots that are seen, and across those that were asked for."""
  faces = recall.shot_characters(rows)
  asked_for, figures = prompts.cut_frames(rows), {}
  for name, features_TD in features.items():
    figures |= {
      f'intra_{name}': consistency.intra_shot(features_TD, detected),
      f'inter_{name}': consistency.inter_shot(features_TD, asked_for),
      f'inter_same_{name}': consistency.inter_shot(
        features_TD, asked_for, faces
      ),
    }
  return figures


def _alignment(
  rows: Sequence[Row],
  features: Mapping[str, np.ndarray],
  instruments: Sequence[Features],
) -> prompts.Figures:
  """Segments and their prompts, by features that know words."""
  spans = [(row.start, row.stop) for row in rows]
  captions = [row.caption for row in rows]
  return {
    f'text_{one.name}': consistency.text_alignment(
      features[one.name], spans, one.text_fn(captions)
    )
    for one in instruments
    if one.text_fn
  }
