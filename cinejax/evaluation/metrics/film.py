"""Scores of any film, with or without a ground truth.

A film is read a few frames at a time, and only a few numbers of each frame are
kept in memory, so it may be long and memory-mapped (np.memmap). Metrics that
can be read from story films alone are left out for other films.
"""

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cinejax.evaluation.config import EvalConfig
from cinejax.evaluation.metrics import consistency, cuts, drift, prompts, recall
from cinejax.evaluation.metrics.features import PIXELS, Features, make_features
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.film.sheet import Row
from cinejax.story import read_back


@dataclasses.dataclass(frozen=True)
class Instruments:
  """The detector, features and settings with which films are measured."""

  detector_fn: Callable[[], cuts.Detector] = cuts.ContentDetector
  features: tuple[Features, ...] = (PIXELS,)
  matching: str = 'greedy'
  penalty_frames: float | None = None  # None = the mean shot length


def make_instruments(cfg: EvalConfig) -> Instruments:
  """The instruments of config.eval.

  Raises UserError if their weights are missing.
  """
  return Instruments(
    cuts.make_detector_fn(cfg.cuts),
    make_features(cfg.features),
    cfg.matching,
    cfg.penalty_frames or None,
  )


@dataclasses.dataclass(frozen=True)
class FilmScore:
  """The measurements of a film, or of a part of it; `|` joins parts."""

  values: Mapping[str, float | None]  # None: undefined for this film
  # by name of the metric, which `values` has too: 1 where the pair is right
  recall_pairs: Mapping[str, RecallPair]
  # indices of world.APPEARANCES read in the first shot of each character
  appearances: tuple[int, ...] = ()
  series: drift.Series = dataclasses.field(default_factory=dict)

  def __or__(self, other: 'FilmScore') -> 'FilmScore':
    return FilmScore(
      {**self.values, **other.values},
      {**self.recall_pairs, **other.recall_pairs},
      self.appearances + other.appearances,
      {**self.series, **other.series},
    )


def score_film(
  video_TYXC: np.ndarray,
  rows: Sequence[Row],
  fps: float,
  instruments: Instruments,
  readings: read_back.Readings | None = None,
) -> FilmScore:
  """Measures everything that follows from pixels and screenplay.

  Args:
    video_TYXC: uint8; may be memory-mapped.
    rows: the film's segments.
    fps: frames per second.
    instruments: of cuts and consistency.
    readings: of the film's frames, if it is a story film.
  """
  detected = cuts.detect_cuts(video_TYXC, instruments.detector_fn())
  features = {f.name: f.of(video_TYXC) for f in instruments.features}
  requested = prompts.requested_cuts(rows)
  values = {
    **prompts.cut_metrics(
      detected, rows, instruments.matching, instruments.penalty_frames
    ),
    'flicker': consistency.flicker(video_TYXC, requested),
    'motion': consistency.motion(video_TYXC, requested),
    **_consistency(rows, detected, features),
    **_alignment(rows, features, instruments.features),
    **_between_shots(rows, features, instruments.features),
  }
  if readings is not None:
    values |= prompts.prompt_metrics(readings, rows)
    values['unreadable'] = float(1 - readings.readable.mean())
  series = drift.sample_film(
    video_TYXC, rows, fps, readings, detected, features
  )
  return FilmScore(values, {}, (), series)


def _consistency(
  rows: Sequence[Row],
  detected: Sequence[int],
  features: Mapping[str, np.ndarray],
) -> prompts.MetricValues:
  """Consistency within detected shots, and between requested shots."""
  characters = recall.shot_characters(rows)
  requested, metrics = prompts.requested_cuts(rows), {}
  for name, features_TD in features.items():
    metrics |= {
      f'intra_{name}': consistency.intra_shot(features_TD, detected),
      f'inter_{name}': consistency.inter_shot(features_TD, requested),
      f'inter_same_{name}': consistency.inter_shot(
        features_TD, requested, characters
      ),
    }
  return metrics


def _alignment(
  rows: Sequence[Row],
  features: Mapping[str, np.ndarray],
  instruments: Sequence[Features],
) -> prompts.MetricValues:
  """How well segments match their prompts, by features that embed text."""
  spans = [(row.start, row.stop) for row in rows]
  captions = [row.caption for row in rows]
  return {
    f'text_{one.name}': consistency.text_alignment(
      features[one.name], spans, one.text_fn(captions)
    )
    for one in instruments
    if one.text_fn
  }


def _between_shots(
  rows: Sequence[Row],
  features: Mapping[str, np.ndarray],
  instruments: Sequence[Features],
) -> prompts.MetricValues:
  """Shots compared as papers on multi-shot films do, by learnt features."""
  requested, metrics = prompts.requested_cuts(rows), {}
  for one in instruments:
    if not one.learnt:
      continue
    metrics[f'inter_keyframes_{one.name}'] = consistency.inter_keyframes(
      features[one.name], requested
    )
    if one.text_fn:
      text_SD = np.stack(
        [
          one.text_fn([row.caption for row in shot]).mean(0)
          for _, shot in itertools.groupby(rows, lambda row: row.shot)
        ]
      )
      metrics[f'inter_related_{one.name}'] = consistency.inter_related(
        features[one.name], requested, text_SD
      )
  return metrics
