import time

import pytest

from cinejax.bench import make_director
from cinejax.config import resolve
from cinejax.evaluation import throughput
from configs import tiny


@pytest.fixture(scope='module')
def director():
  config = tiny.get_config()
  config.rollout.steps = 1
  config.rollout.guidance = 1.0
  return make_director(resolve(config))


def test_the_first_call_is_not_counted():
  calls = []

  def call(state):
    calls.append(state)
    time.sleep(0.2 if state == 0 else 0.001)
    return state + 1, None

  secs = throughput.time_calls(call, 0, 10)
  assert calls == list(range(11))
  assert len(secs) == 10 and max(secs) < 0.2


def test_spread_is_in_milliseconds():
  spread = throughput.spread([0.003, 0.001, 0.002])
  assert spread == pytest.approx({'median': 2, 'min': 1, 'max': 3, 'n': 3})


def test_rates_of_a_rollout_follow_from_its_milliseconds(director):
  row = throughput.rollout_row(director, batch=2, repeats=3)
  secs = row['chunk_ms']['median'] / 1e3
  # 3 latents of 8 x 8 in patches of 2 x 2; 3 latents of 4 pixel frames
  assert row['tokens_per_sec'] * secs == pytest.approx(2 * 3 * 16)
  assert row['pixel_fps'] * secs == pytest.approx(2 * 3 * 4)
  assert row['chunk_ms']['n'] == 3
  assert row['pixel_fps_codec'] > 0 and row['compile_secs'] > 0
  assert row['policy'] == 'camr' and row['commit'] == 'separate'


def test_the_first_chunk_is_timed_from_its_prompt(director):
  row = throughput.first_row(director, batch=1, repeats=3)
  assert row['first_pixel_frames'] == 9 and row['first_ms']['n'] == 3
  chunk = throughput.rollout_row(director, batch=1, repeats=3)['chunk_ms']
  assert row['first_ms']['max'] > chunk['min']


def test_a_stream_is_one_program_and_one_size_of_bank(director):
  row = throughput.stream_row(director, batch=2, chunks=50)
  assert row['compiles_to_chunk_2'] > 0
  assert row['compiles_from_chunk_3'] == 0
  assert row['bank_bytes_chunk_3'] == row['bank_bytes_most_after'] > 0
  assert row['chunk_ms_11_to_30']['n'] == row['chunk_ms_31_to_50']['n'] == 20
