import itertools
import math

import numpy as np
import pytest

from cinejax.evaluation.metrics import recall
from cinejax.evaluation.metrics.recall import RecallPair
from cinejax.film.sheet import Row


def row(start, shot, caption, cut=True, length=12):
  return Row(start, start + length, shot, cut, caption)


ROWS = (
  row(0, 0, 'Ada jumps in the cave, wide shot', cut=False),
  row(12, 1, 'Ben jumps in the city, wide shot'),
  row(24, 2, 'Ben stands on the beach, wide shot'),
  row(36, 3, 'Ada stands in the city, wide shot'),
  row(48, 3, 'Ada jumps in the city, wide shot', cut=False),
  row(60, 4, 'a cat sleeps'),
  row(72, 5, 'Ada stands in the cave, close shot'),
)


def test_recall_of_right_and_of_wrong_pairs():
  right = [RecallPair(one, one) for one in (3, 5, 8)]
  assert recall.recall(right) == 1
  assert recall.chance(right) == 0
  assert recall.recall([RecallPair(3, 4), RecallPair(4, 3)]) == 0
  assert recall.recall([]) is None


def test_unreadable_is_wrong_even_where_both_are():
  assert recall.recall([RecallPair(-1, -1), RecallPair(2, 2)]) == 0.5
  assert recall.chance([RecallPair(-1, -1), RecallPair(-1, -1)]) == 0


def test_a_model_that_draws_one_appearance_has_its_recall_by_chance():
  same = [RecallPair(7, 7)] * 5
  assert recall.recall(same) == recall.chance(same) == 1
  assert recall.appearance_bits([7] * 5) == 0


def test_chance_is_the_mean_over_derangements():
  pairs = [
    RecallPair(1, 1),
    RecallPair(1, 2),
    RecallPair(2, 1),
    RecallPair(-1, 1),
    RecallPair(3, 1),
  ]
  n = range(len(pairs))
  rates = [
    np.mean([pairs[i].drawn == pairs[j].expected for i, j in enumerate(order)])
    for order in itertools.permutations(n)
    if all(i != j for i, j in enumerate(order))
  ]
  assert recall.chance(pairs) == pytest.approx(np.mean(rates))
  assert recall.chance(pairs[:1]) is None


def test_bits_of_uniform_appearances():
  assert recall.appearance_bits(list(range(24)) * 3) == pytest.approx(
    math.log2(24)
  )
  assert recall.appearance_bits([0, 0, 0, 1]) == pytest.approx(
    0.811278, abs=1e-6
  )
  assert recall.appearance_bits([-1, 4, -1, 5]) == 1
  assert recall.appearance_bits([-1]) is None


def test_returns_are_cuts_back_to_a_character():
  # not Ben's second shot, which follows his first; prompts outside the
  # grammar are nobody's
  assert recall.return_shots(ROWS) == ((0, 3), (0, 5))
  assert recall.return_shots(ROWS[:3]) == ()
  assert recall.shot_characters(ROWS) == (0, 1, 1, 0, None, 0)


def test_shots_span_their_segments():
  assert recall.shot_span(ROWS, 3) == (36, 60)
  assert recall.shot_span(ROWS, 0) == (0, 12)


def test_routing_by_hand():
  none = -1
  frame_JLR = np.array(
    [
      [[0, 1, 9], [none, none, none]],
      [[8, 9, none], [none, none, none]],
    ]
  )
  figures = recall.routing_metrics(frame_JLR, {0, 1, 2})
  assert figures['route_hit_0'] == 0.5
  assert figures['route_share_0'] == pytest.approx((2 / 3 + 0) / 2)
  assert figures['route_hit_1'] is None and figures['route_share_1'] is None
