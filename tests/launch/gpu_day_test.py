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


def _torch_python(folder):
  """A Python for launch/torch_wan.py, which prints what it would measure."""
  times = {'median': 2.0, 'min': 1.0, 'max': 3.0, 'n': 10}
  row = {'layers': 2, 'tokens': 18, 'context_tokens': 102, 'threads': 1}
  row |= {'dtype': 'float32', 'torch': '0', 'diffusers': '0'}
  path = folder / 'python'
  line = json.dumps(row | {'chunk_ms': times})
  path.write_text(f"#!/usr/bin/env bash\necho '{line}'\n")
  path.chmod(0o755)
  return str(path)


@pytest.mark.slow
def test_every_part_ends_and_a_second_run_repeats_none(tmp_path):
  settings = {
    'STORY_STEPS': '(3,2,1)',
    'STORY_WORKERS': '1',
    'TORCH_PYTHON': _torch_python(tmp_path),
  }
  found = _run(tmp_path, **settings)
  assert 'cudnn: failed' in found.stderr  # there is no GPU here
  assert found.returncode == 1
  for part in ('story', 'chunk', 'train', 'peers'):
    assert f'{part}: done in' in found.stdout, found.stderr
    rows = (tmp_path / f'{part}.jsonl').read_text().splitlines()
    assert rows and all(map(json.loads, rows))
  chunks = [json.loads(line) for line in open(tmp_path / 'chunk.jsonl')]
  assert [row['what'] for row in chunks].count('first') == 4
  assert {row['precision'] for row in chunks if 'precision' in row} == {
    'compute',
    'fp8',
  }
  (peer,) = map(json.loads, open(tmp_path / 'peers.jsonl'))
  assert peer['ratio'] == 2.0 / peer['ours_ms']['median']
  assert (tmp_path / 'base.safetensors').stat().st_size > 1000
  again = _run(tmp_path, **settings)
  assert again.stdout.count('done before') == 4
