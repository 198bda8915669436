import dataclasses
import time

import jax
import pytest

from cinejax.bench import make_director
from cinejax.benchmarks import rollout as rollout_lib
from cinejax.config import resolve
from cinejax.core import topology
from cinejax.film.journal import ChunkPrompt
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

  secs = rollout_lib.time_calls(call, 0, 10)
  assert calls == list(range(11))
  assert len(secs) == 10 and max(secs) < 0.2


def test_spread_is_in_milliseconds():
  spread = rollout_lib.spread_ms([0.003, 0.001, 0.002])
  assert spread == pytest.approx({'median': 2, 'min': 1, 'max': 3, 'n': 3})


def test_rates_of_a_rollout_follow_from_its_milliseconds(director):
  row = rollout_lib.measure_rollout(director, batch=2, repeats=3)
  secs = row['chunk_ms']['median'] / 1e3
  # 3 latents of 8 x 8 in patches of 2 x 2; 3 latents of 4 pixel frames
  assert row['tokens_per_sec'] * secs == pytest.approx(2 * 3 * 16)
  assert row['pixel_fps'] * secs == pytest.approx(2 * 3 * 4)
  assert row['chunk_ms']['n'] == 3
  assert row['pixel_fps_codec'] > 0 and row['compile_secs'] > 0
  assert row['policy'] == 'camr' and row['commit'] == 'separate'
  assert row['mfu'] is None  # of a CPU no peak is known
  sizes = [row[x] for x in ('height', 'width', 'frames_per_chunk')]
  assert sizes == [64, 64, 3] and row['parameters'] > 1000


def test_a_rollout_at_the_peak_takes_what_its_steps_do(director, monkeypatch):
  """Counted for the chunks that are timed: not a film's first, which may take
  more of them."""
  chip = topology.Chip('a', ('a',), 0, flops=1e12)
  monkeypatch.setattr(topology, 'chip_of', lambda kind: chip)

  def peak(sequence=1, **rollout):
    cfg = director.cfg
    rollout = dataclasses.replace(cfg.rollout, sampler='few_step', **rollout)
    mesh = dataclasses.replace(cfg.mesh, sequence=sequence)
    cfg = dataclasses.replace(cfg, rollout=rollout, mesh=mesh)
    other = dataclasses.replace(director, cfg=cfg)
    chunks = jax.tree.map(
      lambda x: x[None], other.chunk_input([ChunkPrompt('a', 0, 0, False)])
    )
    return rollout_lib.peak_secs(other, other.begin([0]), chunks)

  two = peak(steps=2, first_steps=4)
  assert two == peak(steps=2, first_steps=0) > 0
  one = peak(steps=1, first_steps=0)
  # a step more, of 1 + 1 passes: the commit is one
  assert two / one == pytest.approx(3 / 2, rel=0.02)
  # two of the devices here share a film if the mesh says so
  assert peak(sequence=2, steps=1, first_steps=0) == one / 2


def test_the_first_chunk_is_timed_from_its_prompt(director):
  row = rollout_lib.measure_first(director, batch=1, repeats=3)
  assert row['first_pixel_frames'] == 9 and row['first_ms']['n'] == 3
  chunk = rollout_lib.measure_rollout(director, batch=1, repeats=3)['chunk_ms']
  assert row['first_ms']['max'] > chunk['min']


@pytest.mark.slow
def test_a_stream_is_one_program_and_one_size_of_bank(director):
  row = rollout_lib.measure_stream(director, batch=2, chunks=50)
  assert row['compiles_to_chunk_2'] > 0
  assert row['compiles_from_chunk_3'] == 0
  assert row['bank_bytes_chunk_3'] == row['bank_bytes_max_after'] > 0
  assert row['chunk_ms_11_to_30']['n'] == row['chunk_ms_31_to_50']['n'] == 20
