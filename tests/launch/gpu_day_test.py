"""The script for one GPU, tried to its end on a CPU with tiny shapes."""

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


def test_what_is_missing_or_unknown_is_a_sentence(tmp_path):
  assert _run().returncode == 2
  found = _run(tmp_path, 'lunch')
  assert found.returncode == 2
  assert 'there is no part lunch' in found.stderr


@pytest.mark.slow
def test_every_part_ends_and_a_second_run_repeats_none(tmp_path):
  found = _run(tmp_path, STORY_STEPS='(3,2,1)', STORY_WORKERS='1')
  assert 'cudnn: failed' in found.stderr  # there is no GPU here
  assert found.returncode == 1
  for part in ('story', 'chunk', 'train'):
    assert f'{part}: done in' in found.stdout, found.stderr
    rows = (tmp_path / f'{part}.jsonl').read_text().splitlines()
    assert rows and all(map(json.loads, rows))
  assert (tmp_path / 'base.safetensors').stat().st_size > 1000
  again = _run(tmp_path, STORY_STEPS='(3,2,1)', STORY_WORKERS='1')
  assert again.stdout.count('done before') == 3
