"""Consistency of a film's frames, and their similarity to its prompts.

With unit features f_t of the frames t of one shot (VBench, arXiv 2311.17982,
subject and background consistency):

  S = mean over t >= 1 of (max(0, f_{t-1}·f_t) + max(0, f_0·f_t)) / 2    (1)

with the unit mean features g_s of shots s, over all pairs of shots or over
those of the same group, such as a character (HoloCine, arXiv 2510.20822):

  I = mean over r < s of g_r·g_s                                         (2)

and with unit features w_s of the prompts, where g_s is now the mean over the
middle frames of eight equal parts (VBench, overall consistency, per segment):

  A = mean over s of g_s·w_s                                             (3)

The papers on multi-shot films compare shots in two more ways. ShotStream
(arXiv 2603.25746, as MultiShotMaster) takes the first, the middle and the last
frame k of each shot, and StoryMem (arXiv 2512.19539) the pairs of shots P
whose prompts are most alike:

  K = mean over r < s and k, l of f_rk·f_sl                              (4)
  T = mean over the ten pairs (r, s) with the largest w_r·w_s of g_r·g_s (5)

Flicker and motion compare neighbouring frames of the same shot only. Features
are any array [T, D] (features.py). A metric that is undefined, such as (2) for
a single shot, is None.
"""

import itertools
from collections.abc import Hashable, Sequence

import numpy as np

_TEXT_FRAMES = 8  # frames of a segment in eq. (3)
_RELATED_PAIRS = 10  # of shots in eq. (5)


def subject_consistency(features_TD: np.ndarray) -> float | None:
  """Eq. (1) for one shot, in [0, 1]; None for a single frame."""
  return intra_shot(features_TD, ())


def intra_shot(features_TD: np.ndarray, cuts: Sequence[int]) -> float | None:
  """Eq. (1) over all shots of a film: the mean over frames, as in VBench.

  Args:
    features_TD: of the film's frames.
    cuts: first frames of all shots but the first.
  """
  shots = split_shots(features_TD, cuts)
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
    cuts: first frames of all shots but the first.
    groups: of each shot; only pairs of one group count, and shots of group
      None count in no pair. If `groups` is None, all pairs count.
  """
  shots = split_shots(features_TD, cuts)
  means_SD = _unit(np.stack([_unit(shot).mean(0) for shot in shots]))
  cosines = [
    means_SD[r] @ means_SD[s]
    for r, s in itertools.combinations(range(len(shots)), 2)
    if groups is None or (groups[r] is not None and groups[r] == groups[s])
  ]
  return float(np.mean(cosines)) if cosines else None


def inter_keyframes(
  features_TD: np.ndarray, cuts: Sequence[int]
) -> float | None:
  """Eq. (4), in [-1, 1]; None for a single shot.

  Args:
    features_TD: of the film's frames.
    cuts: first frames of all shots but the first.
  """
  keys = [
    _unit(shot[[0, len(shot) // 2, -1]])
    for shot in split_shots(features_TD, cuts)
  ]
  cosines = [(a @ b.T).mean() for a, b in itertools.combinations(keys, 2)]
  return float(np.mean(cosines)) if cosines else None


def inter_related(
  features_TD: np.ndarray, cuts: Sequence[int], text_SD: np.ndarray
) -> float | None:
  """Eq. (5), in [-1, 1]; None for a single shot.

  Args:
    features_TD: of the film's frames.
    cuts: first frames of all shots but the first.
    text_SD: features of each shot's prompt.
  """
  shots = split_shots(features_TD, cuts)
  means_SD = _unit(np.stack([_unit(shot).mean(0) for shot in shots]))
  prompts_SD = _unit(text_SD)
  pairs = sorted(
    itertools.combinations(range(len(shots)), 2),
    key=lambda pair: -float(prompts_SD[pair[0]] @ prompts_SD[pair[1]]),
  )[:_RELATED_PAIRS]
  cosines = [means_SD[r] @ means_SD[s] for r, s in pairs]
  return float(np.mean(cosines)) if cosines else None


def text_alignment(
  features_TD: np.ndarray, spans: Sequence[tuple[int, int]], text_SD: np.ndarray
) -> float:
  """Eq. (3), in [-1, 1].

  Args:
    features_TD: of the film's frames.
    spans: frames [start, stop) of each segment.
    text_SD: features of each segment's prompt.
  """
  means = []
  for start, stop in spans:
    at = start + (np.arange(_TEXT_FRAMES) + 0.5) / _TEXT_FRAMES * (stop - start)
    means.append(_unit(features_TD[at.astype(int)]).mean(0))
  return float((_unit(np.stack(means)) * _unit(text_SD)).sum(-1).mean())


def flicker(video_TYXC: np.ndarray, cuts: Sequence[int] = ()) -> float | None:
  """1 - mean |change of a uint8 value| / 255 (VBench); 1 for a still image."""
  changes = [change.mean() for change in _changes(video_TYXC, cuts)]
  return float(1 - np.mean(changes) / 255) if changes else None


def motion(
  video_TYXC: np.ndarray, cuts: Sequence[int] = (), part: float = 0.05
) -> float | None:
  """Mean change, divided by 255, of the most changed `part` of each frame.

  Like VBench's dynamic degree it considers the fastest part of a frame, so that
  a small character who moves in front of a still background counts.
  """
  changes = [
    np.partition(change, -count)[-count:].mean()
    for change in _changes(video_TYXC, cuts)
    for count in [max(1, round(part * change.size))]
  ]
  return float(np.mean(changes) / 255) if changes else None


def split_shots(frames: np.ndarray, cuts: Sequence[int]) -> list[np.ndarray]:
  """Splits frames, or features of frames, at `cuts` into shots."""
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
  """Yields |frame - frame before it|, flattened, within shots."""
  for shot in split_shots(video_TYXC, cuts):
    for before, after in itertools.pairwise(shot):
      yield np.abs(after.astype(np.int16) - before).ravel()
