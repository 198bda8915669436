"""What eight bits change, layer by layer."""

import dataclasses

import numpy as np
import pytest

from cinejax.benchmarks.precision import measure_precision
from cinejax.config import resolve
from configs import tiny


@pytest.mark.slow
def test_eight_bits_round_more_than_sixteen_and_errors_add_up():
  cfg = resolve(tiny.get_config())
  cfg = dataclasses.replace(cfg, dit=dataclasses.replace(cfg.dit, layers=3))
  row = measure_precision(cfg)
  tokens = row['tokens'] // cfg.film.frames_per_chunk
  seen = cfg.memory.window_frames + cfg.memory.context_frames
  assert row['context_tokens'] == row['tokens'] + seen * tokens
  eight, sixteen = (
    np.array(row[name]) for name in ('update_error', 'bfloat16_update_error')
  )
  assert eight.shape == sixteen.shape == (3,)
  assert (sixteen > 0).all() and (eight > 4 * sixteen).all()
  assert (eight < 0.2).all()
  assert row['states_error'][0] < row['states_error'][-1] < 0.2
