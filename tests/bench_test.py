import json
import pathlib
import subprocess
import sys

import pytest

from cinejax import bench
from cinejax.config import resolve
from cinejax.core.errors import UserError
from configs import tiny

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_a_batch_that_the_mesh_does_not_divide_is_refused():
  with pytest.raises(UserError, match=r'config\.stage\.base\.batch is 2'):
    bench.measure_train(resolve(tiny.get_config()), 'base', repeats=1)


@pytest.mark.slow
def test_a_stage_of_three_networks_is_timed():
  config = tiny.get_config()
  config.mesh.tensor = 2
  config.stage.dmd.batch = 4
  row = bench.measure_train(resolve(config), 'dmd', repeats=1)
  assert row['stage'] == 'dmd' and row['batch'] == 4
  assert row['tokens_per_sec'] > 0 and row['mfu'] is None  # of CPUs not known


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
  lines = out.read_text().splitlines()
  assert json.loads(lines[0]) == {'what': 'before'}
  assert [json.loads(line) for line in lines[1:]] == rows
