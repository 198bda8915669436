"""How steady a film is, without any pretrained weights.

With unit features f_t of the frames t of one shot (VBench, arXiv 2311.17982,
subject consistency):

  S = mean over t >= 1 of (max(0, f_{t-1}·f_t) + max(0, f_0·f_t)) / 2    (1)

and with the unit mean features g_s of shots s, over all pairs of shots:

  I = mean over r < s of g_r·g_s                                         (2)

Flicker and motion look at neighbouring frames of one shot only. Features are
any function from uint8 video_TYXC to float [T, D]. What is undefined, such
as (2) of a single shot, is None.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

FeatureFn = Callable[[np.ndarray], np.ndarray]


def pixel_features(video_TYXC: np.ndarray, size: int = 8) -> np.ndarray:
  """Features [T, 3 size²]: size x size colours, less the frame's mean colour.

  A frame of one flat colour has a zero feature, which is like no other.
  """
  small = np.stack(
    [
      Image.fromarray(frame).resize((size, size), Image.Resampling.BOX)
      for frame in video_TYXC
    ]
  )
  small = small.astype(np.float64)
  centred = small - small.mean((1, 2), keepdims=True)
  return centred.reshape(len(centred), -1)


def subject_consistency(features_TD: np.ndarray) -> float | None:
  """Eq. (1) for one shot, in [0, 1]; None for a single frame."""
  terms = _shot_terms(features_TD)
  return float(terms.mean()) if len(terms) else None


def intra_shot(
  video_TYXC: np.ndarray,
  cuts: Sequence[int],
  feature_fn: FeatureFn = pixel_features,
) -> float | None:
  """Eq. (1) over all shots of a film: the mean over frames, as in VBench.

  Args:
    video_TYXC: uint8.
    cuts: first frames of every shot but the first.
    feature_fn: video_TYXC -> [T, D].
  """
  shots = shots_of(video_TYXC, cuts)
  terms = np.concatenate([_shot_terms(feature_fn(shot)) for shot in shots])
  return float(terms.mean()) if len(terms) else None


def inter_shot(
  video_TYXC: np.ndarray,
  cuts: Sequence[int],
  feature_fn: FeatureFn = pixel_features,
) -> float | None:
  """Eq. (2), in [-1, 1]; arguments as in `intra_shot`."""
  shots = shots_of(video_TYXC, cuts)
  if len(shots) < 2:
    return None
  means_SD = _unit(
    np.stack([_unit(feature_fn(shot)).mean(0) for shot in shots])
  )
  cosines_SS = means_SD @ means_SD.T
  return float(cosines_SS[np.triu_indices(len(shots), 1)].mean())


def flicker(video_TYXC: np.ndarray, cuts: Sequence[int] = ()) -> float | None:
  """1 - mean |change of a pixel| / 255; 1 is a still (VBench, uint8 frames)."""
  changes = [change.mean() for change in _changes(video_TYXC, cuts)]
  return float(1 - np.mean(changes) / 255) if changes else None


def motion(
  video_TYXC: np.ndarray, cuts: Sequence[int] = (), part: float = 0.05
) -> float | None:
  """Mean change, of 255, of the most changed `part` of each frame.

  Like VBench's dynamic degree it looks at the fastest part of a frame, so
  that somebody small who moves before a still background counts.
  """
  changes = [
    np.partition(change, -count)[-count:].mean()
    for change in _changes(video_TYXC, cuts)
    for count in [max(1, round(part * change.size))]
  ]
  return float(np.mean(changes) / 255) if changes else None


def shots_of(video_TYXC: np.ndarray, cuts: Sequence[int]) -> list[np.ndarray]:
  """The film's shots; `cuts` are first frames of every shot but the first."""
  edges = sorted({0, *cuts, len(video_TYXC)})
  return [video_TYXC[a:b] for a, b in itertools.pairwise(edges)]


def _unit(features_TD: np.ndarray) -> np.ndarray:
  norm = np.linalg.norm(features_TD, axis=-1, keepdims=True)
  return np.divide(
    features_TD, norm, out=np.zeros_like(features_TD), where=norm > 1e-9
  )


def _shot_terms(features_TD: np.ndarray) -> np.ndarray:
  unit_TD = _unit(features_TD)
  before = (unit_TD[:-1] * unit_TD[1:]).sum(-1)
  first = (unit_TD[:1] * unit_TD[1:]).sum(-1)
  return (before.clip(0) + first.clip(0)) / 2


def _changes(video_TYXC: np.ndarray, cuts: Sequence[int]):
  """|difference| of each frame and the one before it, flat, within shots."""
  for shot in shots_of(video_TYXC, cuts):
    for before, after in itertools.pairwise(shot):
      yield np.abs(after.astype(np.int16) - before).ravel()
