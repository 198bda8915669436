import numpy as np
import pytest

from cinejax.evaluation.metrics import prompts
from cinejax.film.sheet import Row
from cinejax.story import read_back

ROWS = (
  Row(0, 9, 0, False, 'Ada stands in the cave, wide shot'),
  Row(9, 21, 0, False, 'Ada walks left in the cave, wide shot'),
  Row(21, 33, 1, True, 'somebody else entirely'),
)


def readings(**changes):
  """33 frames of Ada, standing and then walking left, wide, in the cave."""
  x = 40 - 0.5 * np.clip(np.arange(33) - 9.0, 0, 12)
  fields = {
    'appearance': np.full(33, 4),
    'place': np.full(33, 5),
    'size': np.zeros(33, int),
    'offset': np.zeros(33, int),
    'x': x,
    'lift': np.zeros(33),
    'readable': np.ones(33, bool),
  }
  return read_back.Readings(**(fields | changes))


def test_prompts_outside_the_grammar_are_left_out():
  figures = prompts.prompt_metrics(readings(), ROWS)
  assert figures == {'place': 1, 'size': 1, 'action': 1}
  nothing = prompts.prompt_metrics(readings(), ROWS[2:])
  assert nothing == {'place': None, 'size': None, 'action': None}


def test_shares_are_of_segments():
  place = np.where(np.arange(33) < 9, 2, 5)
  size = np.where(np.arange(33) < 15, 0, 1)  # the smaller half of segment 1
  figures = prompts.prompt_metrics(readings(place=place, size=size), ROWS)
  assert figures['place'] == 0.5
  assert figures['size'] == 1
  still = prompts.prompt_metrics(readings(x=np.full(33, 20.0)), ROWS)
  assert still['action'] == 0.5


def test_only_story_sizes_and_prompts_are_read():
  assert prompts.is_readable(np.zeros((3, 64, 64, 3)), ROWS)
  assert not prompts.is_readable(np.zeros((3, 64, 128, 3)), ROWS)
  assert not prompts.is_readable(np.zeros((3, 64, 64, 3)), ROWS[2:])


def test_requested_and_false_cuts():
  figures = prompts.cut_metrics((22,), ROWS)
  assert figures['nsd'] == 1 / 33 and figures['sca'] < 1
  assert figures['transition_deviation'] == 1 and figures['false_cuts'] == 0
  figures = prompts.cut_metrics((9, 21), ROWS)
  assert figures['false_cuts'] == 1
  assert figures['nsd'] == 0.5  # one extra cut where shots are half a film
  figures = prompts.cut_metrics((9, 21), ROWS, penalty_frames=3.3)
  assert figures['nsd'] == pytest.approx(0.1)


def test_matching_is_configurable():
  rows = [Row(0, 59, 0, False, ''), Row(59, 90, 1, True, '')]
  rows.append(Row(90, 100, 2, True, ''))
  greedy, optimal = (
    prompts.cut_metrics((40, 60), rows, matching)['nsd']
    for matching in ('greedy', 'optimal')
  )
  assert (greedy, optimal) == pytest.approx((0.51, 0.49))


def test_segments_are_described_in_words():
  unread = readings(appearance=np.full(33, -1), readable=np.zeros(33, bool))
  first = prompts.describe_segments(unread, ROWS)[0]
  assert first['place'] == 'cave' and first['size'] == 'wide'
  assert first['appearance'] is None and first['action'] is None
  assert (
    prompts.describe_segments(readings(), ROWS)[1]['action'] == 'walks left'
  )
