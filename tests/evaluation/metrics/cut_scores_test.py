import math

import hypothesis
import pytest
from hypothesis import strategies as st

from cinejax.evaluation.metrics.cut_scores import false_cuts, score_cuts

SINTEL_CUTS = (76, 121, 319, 457, 545, 611)
SINTEL_FRAMES = 652

cut_lists = st.lists(st.integers(1, 99), max_size=6, unique=True)
matchings = pytest.mark.parametrize('matching', ['greedy', 'optimal'])


@matchings
@pytest.mark.parametrize(
  ('detected', 'sca'),
  [
    (SINTEL_CUTS, 1.0),
    (tuple(cut + 4 for cut in SINTEL_CUTS), 0.96386),
    ((), 0.42437),
    (SINTEL_CUTS[:2] + SINTEL_CUTS[3:], 0.86688),
    ((30, *SINTEL_CUTS), 0.86688),
  ],
)
def test_known_scores(detected, sca, matching):
  score = score_cuts(detected, SINTEL_CUTS, SINTEL_FRAMES, matching)
  assert score.sca == pytest.approx(sca, abs=5e-6)


@pytest.mark.parametrize('n_shots', [2, 3, 4, 5, 6])
def test_a_film_without_cuts(n_shots):
  requested = [10 * shot for shot in range(1, n_shots)]
  score = score_cuts([], requested, 10 * n_shots)
  assert score.sca == pytest.approx(math.exp(-(n_shots - 1) / n_shots))


def test_pairs_missed_extra_and_deviation():
  score = score_cuts([52, 11, 80], [10, 50], 100, penalty=7)
  assert score.matched == ((11, 10), (52, 50))
  assert (score.missed, score.extra) == ((), (80,))
  assert score.nsd == pytest.approx((1 + 2 + 7) / 100)
  assert score.transition_deviation == 1.5
  assert score_cuts([], [10, 50], 100).missed == (10, 50)
  assert score_cuts([], [10, 50], 100).transition_deviation is None


def test_one_shot_without_cuts_is_right():
  assert score_cuts([], [], 100).sca == 1
  assert score_cuts([50], [], 100).nsd == 1


def test_greedy_and_optimal_differ_where_a_cut_is_far():
  greedy = score_cuts([40, 60], [59, 90], 100)
  optimal = score_cuts([40, 60], [59, 90], 100, 'optimal')
  assert greedy.matched == ((40, 90), (60, 59))
  assert greedy.nsd == pytest.approx(0.51)
  assert optimal.matched == ((40, 59), (60, 90))
  assert optimal.nsd == pytest.approx(0.49)


@hypothesis.given(cut_lists, cut_lists)
def test_properties(detected, requested):
  greedy = score_cuts(detected, requested, 100)
  optimal = score_cuts(detected, requested, 100, 'optimal')
  assert optimal.nsd <= greedy.nsd + 1e-12
  assert 0 < greedy.sca <= 1
  assert (greedy.nsd == 0) == (set(detected) == set(requested))
  for score in (greedy, optimal):
    assert len(score.matched) == min(len(detected), len(requested))
    assert {a for a, _ in score.matched} | set(score.extra) == set(detected)
    assert {b for _, b in score.matched} | set(score.missed) == set(requested)
  shuffled = score_cuts(detected[::-1], requested[::-1], 100)
  assert shuffled == greedy


def test_false_cuts_are_those_at_continued_prompts():
  assert false_cuts([10, 33, 50], [9, 30, 70], tolerance_frames=3) == 2
  assert false_cuts([10, 33, 50], [9, 30, 70], tolerance_frames=2) == 1
  assert false_cuts([], [9]) == 0
