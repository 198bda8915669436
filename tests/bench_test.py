import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_measurements_are_printed_and_appended_to_the_file(tmp_path):
  out = tmp_path / 'rows.jsonl'
  out.write_text('{"what": "before"}\n')
  answer = subprocess.run(
    [
      *(sys.executable, '-m', 'cinejax.bench', '--config=configs/tiny.py'),
      *('--what=train', '--what=rollout', f'--out={out}'),
    ],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  )
  rows = [json.loads(line) for line in answer.stdout.splitlines()]
  assert [row['what'] for row in rows] == ['train', 'rollout']
  train = rows[0]
  films, chunks, tokens = 2, 3, 3 * 16
  mean_ms = 1e3 * films * chunks * tokens / train['tokens_per_sec']
  assert train['step_ms']['min'] <= mean_ms <= train['step_ms']['max']
  assert train['step_ms']['n'] >= 10
  assert train['compile_secs'] > 0.5  # not from the cache
  assert train['film_ms'] * films <= train['step_ms']['max'] + 1e-6
  assert 0 < train['measured_peak_share'] < 1
  lines = out.read_text().splitlines()
  assert json.loads(lines[0]) == {'what': 'before'}
  assert [json.loads(line) for line in lines[1:]] == rows
