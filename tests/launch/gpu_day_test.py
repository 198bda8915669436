"""The script for one GPU, tried to its end on a CPU with tiny shapes."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]


def _run(*args, **env):
  return subprocess.run(
    ['bash', 'launch/gpu_day.sh', *map(str, args)],
    cwd=ROOT,
    env={
      **os.environ,
      'PYTHON': sys.executable,
      'TINY': '1',
      'LIMIT_SCALE': '5',
      **env,
    },
    capture_output=True,
    text=True,
  )


def _phase_rates():
  path = ROOT / 'launch/phase_rates.py'
  spec = importlib.util.spec_from_file_location('phase_rates', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_updates_fill_the_time_at_the_rates_of_the_trial():
  rows = [
    {'step': 10, 'steps_per_sec': 0.1},  # compiles
    {'step': 20, 'steps_per_sec': 4.0},
    {'step': 30, 'steps_per_sec': 0.1},
    {'step': 40, 'steps_per_sec': 2.0},
    {'step': 40, 'recall/near_exact': 0.5},
  ]
  steps = _phase_rates().steps_of_phases(rows, 100, 20, [0.5, 0.5])
  assert steps == (200, 100)


def test_what_is_missing_or_unknown_is_a_sentence(tmp_path):
  assert _run().returncode == 2
  found = _run(tmp_path, 'lunch')
  assert found.returncode == 2
  assert 'there is no part lunch' in found.stderr


@pytest.mark.slow
def test_every_part_ends_and_a_second_run_repeats_none(tmp_path):
  found = _run(tmp_path, STORY_SECS='6', STORY_TRIAL='3')
  assert 'cudnn: failed' in found.stderr  # there is no GPU here
  assert found.returncode == 1
  for part in ('story', 'chunk', 'train'):
    assert f'{part}: done in' in found.stdout, found.stderr
    rows = (tmp_path / f'{part}.jsonl').read_text().splitlines()
    assert rows and all(map(json.loads, rows))
  assert (tmp_path / 'base.safetensors').stat().st_size > 1000
  again = _run(tmp_path, STORY_SECS='6', STORY_TRIAL='3')
  assert again.stdout.count('done before') == 3
