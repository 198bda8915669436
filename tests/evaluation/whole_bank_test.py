"""Banks beside the one that forgets and rounds nothing."""

import pytest

from cinejax.directing.loading import load_director
from cinejax.evaluation import suite, whole_bank
from cinejax.interop.tensors import save_tree
from tests.evaluation.cases import make_cfg
from tests.networks import random_dit, save_networks

FRAMES = 33  # of the longest film


@pytest.fixture
def make_director(tmp_path):
  folder, dit = tmp_path / 'weights', make_cfg().dit
  save_networks(make_cfg(), folder)
  save_tree(folder / 'base.safetensors', random_dit(dit), {})

  def make(**memory):
    changes = {f'memory.{key}': value for key, value in memory.items()}
    changes |= {'eval.kind': 'eval', 'rollout.commit': 'separate'}
    return load_director(make_cfg(**changes), str(folder))

  return make


def test_a_bank_that_forgets_or_rounds_draws_other_shots(make_director):
  def score(**memory):
    director = make_director(**memory)
    films = suite.cast_films(director, 2)
    case = suite.BenchmarkCase(director, films, None)
    return [score.values for score in case.score_batch('bank', [0, 1]).values()]

  whole = whole_bank.bank_bytes(make_director(bank_frames=FRAMES))
  for memory in ({'bank_frames': 12}, {'bank_frames': FRAMES, 'dtype': 'int4'}):
    for values in score(**memory):
      assert values['bank_bytes'] < whole / 2
      assert 5 < values['psnr_bank'] < 60


def test_an_archive_loses_nothing(make_director):
  director = make_director(
    bank_frames=12, archive='host', archive_frames=FRAMES
  )
  case = suite.BenchmarkCase(director, suite.cast_films(director, 4), None)
  whole = make_director(bank_frames=FRAMES)
  numbers = (0, 3), (2, 1)  # beside films whose past is longer
  for score in case.score_batch('bank', numbers[0]).values():
    assert score.values['psnr_bank'] == 60
    assert score.values['bank_bytes'] < whole_bank.bank_bytes(whole) / 2


def test_the_whole_bank_is_the_same_whatever_it_is_compared_with(make_director):
  small = make_director(bank_frames=12, dtype='int8', evict='redundant')
  banks = [
    whole_bank.with_whole_bank(director, 11).cfg.memory
    for director in (
      small,
      make_director(archive='host'),
    )
  ]
  assert banks == [make_director(bank_frames=FRAMES).cfg.memory] * 2
  larger = make_director(bank_frames=2 * FRAMES)
  kept = whole_bank.with_whole_bank(larger, 11)
  assert whole_bank.bank_bytes(kept) == whole_bank.bank_bytes(larger)
