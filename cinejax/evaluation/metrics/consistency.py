"""How steady a film is, and how close to its words.

With unit features f_t of the frames t of one shot (VBench, arXiv 2311.17982,
subject and background consistency):

  S = mean over t >= 1 of (max(0, f_{t-1}·f_t) + max(0, f_0·f_t)) / 2    (1)

with the unit mean features g_s of shots s, over all pairs of shots, or those
of one group, such as one character's (HoloCine, arXiv 2510.20822):

  I = mean over r < s of g_r·g_s                                         (2)

and with unit features w_s of their prompts, g_s now the mean of the middle
frames of eight equal parts (VBench, overall consistency, shot by shot):

  A = mean over s of g_s·w_s                                             (3)

Flicker and motion look at neighbouring frames of one shot only. Features are
any [T, D] (features.py). What is undefined, such as (2) of a single shot, is
None.
"""

import itertools
from collections.abc import Hashable, Sequence

import numpy as np

_LOOKS = 8  # frames of a shot that eq. (3) looks at


def subject_consistency(features_TD: np.ndarray) -> float | None:
  """Eq. (1) for one shot, in [0, 1]; None for a single frame."""
  return intra_shot(features_TD, ())


def intra_shot(features_TD: np.ndarray, cuts: Sequence[int]) -> float | None:
  """Eq. (1) over all shots of a film: the mean over frames, as in VBench.

  Args:
    features_TD: of the film's frames.
    cuts: first frames of every shot but the first.
  """
  shots = shots_of(features_TD, cuts)
  terms = np.concatenate([_shot_terms(_unit(shot)) for shot in shots])
  return float(terms.mean()) if len(terms) else None


def inter_shot(
  features_TD: np.ndarray,
  cuts: Sequence[int],
  groups: Sequence[Hashable | None] | None = None,
) -> float | None:
  """Eq. (2), in [-1, 1].

  Args:
    features_TD: of the film's frames.
    cuts: first frames of every shot but the first.
    groups: what each shot shows; pairs must show the same, and None is like
      nothing. Without it, all pairs count.
  """
  shots = shots_of(features_TD, cuts)
  means_SD = _unit(np.stack([_unit(shot).mean(0) for shot in shots]))
  cosines = [
    means_SD[r] @ means_SD[s]
    for r, s in itertools.combinations(range(len(shots)), 2)
    if groups is None or (groups[r] is not None and groups[r] == groups[s])
  ]
  return float(np.mean(cosines)) if cosines else None


def text_alignment(
  features_TD: np.ndarray, spans: Sequence[tuple[int, int]], text_SD: np.ndarray
) -> float:
  """Eq. (3), in [-1, 1]; `spans` are the frames [start, stop) of each text."""
  means = []
  for start, stop in spans:
    at = start + (np.arange(_LOOKS) + 0.5) / _LOOKS * (stop - start)
    means.append(_unit(features_TD[at.astype(int)]).mean(0))
  return float((_unit(np.stack(means)) * _unit(text_SD)).sum(-1).mean())


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


def shots_of(frames: np.ndarray, cuts: Sequence[int]) -> list[np.ndarray]:
  """Frames, or features of frames, shot by shot; `cuts` as above."""
  edges = sorted({0, *cuts, len(frames)})
  return [frames[a:b] for a, b in itertools.pairwise(edges)]


def _unit(features_TD: np.ndarray) -> np.ndarray:
  norm = np.linalg.norm(features_TD, axis=-1, keepdims=True)
  return np.divide(
    features_TD, norm, out=np.zeros_like(features_TD), where=norm > 1e-9
  )


def _shot_terms(unit_TD: np.ndarray) -> np.ndarray:
  before = (unit_TD[:-1] * unit_TD[1:]).sum(-1)
  first = (unit_TD[:1] * unit_TD[1:]).sum(-1)
  return (before.clip(0) + first.clip(0)) / 2


def _changes(video_TYXC: np.ndarray, cuts: Sequence[int]):
  """|difference| of each frame and the one before it, flat, within shots."""
  for shot in shots_of(video_TYXC, cuts):
    for before, after in itertools.pairwise(shot):
      yield np.abs(after.astype(np.int16) - before).ravel()
