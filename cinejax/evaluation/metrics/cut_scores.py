"""How well detected cuts match requested cuts.

Shot cut accuracy (HoloCine, arXiv 2510.20822, appendix A.1), from the frames
of detected and of requested cuts in a film of n frames:

  NSD = (sum over matched pairs of |detected - requested|
         + penalty (missed + extra)) / n                                 (1)
  SCA = exp(-NSD)                                                        (2)

The paper gives neither the penalty nor the matching. Here the penalty for an
unmatched cut is the mean length of a requested shot, n / (cuts + 1), unless it
is configured, and cuts are matched one to one: either greedily, the nearest
pair first, or optimally. The two differ only where a cut is off by more than
half a shot. A cut is the first frame of the new shot.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment


@dataclasses.dataclass(frozen=True)
class ShotScore:
  """How well detected cuts match the requested ones."""

  nsd: float  # >= 0, eq. (1)
  matched: tuple[tuple[int, int], ...]  # (detected, requested) frames
  missed: tuple[int, ...]  # requested cuts without a detected one
  extra: tuple[int, ...]  # detected cuts without a requested one

  @property
  def sca(self) -> float:
    """Eq. (2), in (0, 1]."""
    return math.exp(-self.nsd)

  @property
  def transition_deviation(self) -> float | None:
    """Mean |detected - requested| in frames; None if no cuts match.

    The measure of MultiShotMaster and CineTrans. They do not say how it is
    averaged; the mean is our choice.
    """
    if not self.matched:
      return None
    return float(np.mean([abs(a - b) for a, b in self.matched]))


def score_cuts(
  detected: Sequence[int],
  requested: Sequence[int],
  n_frames: int,
  matching: str = 'greedy',
  penalty: float | None = None,
) -> ShotScore:
  """Matches detected to requested cuts and scores them.

  Args:
    detected: pixel frames of the detected cuts, each once.
    requested: pixel frames of the requested cuts, each once.
    n_frames: pixel frames of the film, > 0.
    matching: greedy | optimal.
    penalty: frames for each missed or extra cut; None = mean shot length.
  """
  match = {'greedy': _greedy, 'optimal': _optimal}[matching]
  detected_D, requested_S = np.sort(detected), np.sort(requested)
  distance_DS = np.abs(detected_D[:, None] - requested_S[None])
  pairs = match(distance_DS)
  missed = _unmatched(requested_S, [column for _, column in pairs])
  extra = _unmatched(detected_D, [row for row, _ in pairs])
  if penalty is None:
    penalty = n_frames / (len(requested_S) + 1)
  matched_frames = sum(distance_DS[pair] for pair in pairs)
  penalty_frames = penalty * (len(missed) + len(extra))
  matched = tuple(
    (int(detected_D[row]), int(requested_S[column])) for row, column in pairs
  )
  nsd = float(matched_frames + penalty_frames) / n_frames
  return ShotScore(nsd, matched, missed, extra)


def false_cuts(
  detected: Sequence[int], continued: Sequence[int], tolerance_frames: int = 4
) -> int:
  """The number of prompt changes within a shot at which the film cuts.

  Args:
    detected: pixel frames of the detected cuts.
    continued: pixel frames at which a prompt changes within a shot.
    tolerance_frames: the greatest distance of a cut that counts.
  """
  return sum(
    any(abs(cut - frame) <= tolerance_frames for cut in detected)
    for frame in continued
  )


def _greedy(distance_DS: np.ndarray) -> list[tuple[int, int]]:
  pairs, rows, columns = [], set(), set()
  for index in np.argsort(distance_DS, axis=None, kind='stable'):
    row, column = map(int, np.unravel_index(index, distance_DS.shape))
    if row not in rows and column not in columns:
      pairs.append((row, column))
      rows.add(row)
      columns.add(column)
  return sorted(pairs)


def _optimal(distance_DS: np.ndarray) -> list[tuple[int, int]]:
  rows, columns = linear_sum_assignment(distance_DS)
  return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _unmatched(frames: np.ndarray, matched: list[int]) -> tuple[int, ...]:
  return tuple(np.delete(frames, matched).astype(int).tolist())
