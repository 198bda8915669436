"""Sweeps: points that run, points that are skipped, and interruptions."""

import asyncio
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest

from cinejax import sweep, sweep_runner
from cinejax.core.errors import UserError
from configs import ablations

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILE = """
'''Do two learning rates differ?'''
from configs import ablations, tiny

METRICS = ('codec psnr', 'codec steps')


def get_config():
  config = tiny.get_config()
  config.train.stages = ('codec',)
  config.stage.codec.steps = 40
  config.story.films = 16
  config.train.save_every_steps = 5
  config.train.log_every_steps = 5
  return config


def sweep():
  return ablations.over('stage.codec.learning_rate', (0.01, 0.001), 'rate')


def runs(point):
  return (
    'cinejax.train --workdir={dir}',
    'cinejax.evaluate --weights={dir} --out={dir}/eval --films=1 '
    '--metrics=codec',
  )
"""


def test_the_algebra_of_points():
  one = ablations.over('a', (1, 2))
  other = ablations.over('b', (3, 4), 'b')
  assert ablations.product(one, other) == [
    {'name': '1-b3', 'a': 1, 'b': 3},
    {'name': '1-b4', 'a': 1, 'b': 4},
    {'name': '2-b3', 'a': 2, 'b': 3},
    {'name': '2-b4', 'a': 2, 'b': 4},
  ]
  assert ablations.seeded(one[:1], (0, 7)) == [
    {'name': '1-seed0', 'a': 1, 'seed': 0},
    {'name': '1-seed7', 'a': 1, 'seed': 7},
  ]


def start(*line, file):
  return subprocess.Popen(
    [sys.executable, '-m', 'cinejax.sweep', str(file), *line],
    cwd=ROOT,
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    text=True,
  )


def finish(process):
  out, err = process.communicate(timeout=3000)
  return process.returncode, out, err


@pytest.fixture(scope='module')
def answers(tmp_path_factory):
  """The output of commands that run in parallel and write nothing."""
  workdir = tmp_path_factory.mktemp('sweep') / 'workdir'
  policy = 'configs/ablations/policy.py'
  dry = (f'--workdir={workdir}', '--dry_run')
  running = {
    'dry': start(
      *dry, '--config.eval.films=4', '--platform=cpu', '--points=sink,camr',
      file=policy,
    ),
    'none': start(*dry, file='configs/tiny.py'),
  }  # fmt: skip
  done = {name: finish(process) for name, process in running.items()}
  assert not workdir.exists()
  return workdir, done


def test_a_dry_run_prints_a_line_of_shell_per_point(answers):
  workdir, done = answers
  code, out, err = done['dry']
  assert code == 0, err
  lines = out.splitlines()
  for name, line in zip(('sink', 'camr'), lines, strict=True):
    folder = workdir / name
    assert line == (
      f'test -e {folder}/done || (python -m cinejax.evaluate '
      '--config=configs/ablations/policy.py --platform=cpu '
      f'--config.eval.films=4 --config.name={name} '
      f'--config.memory.policy={name} --weights=weights/story '
      f'--out={folder}/eval --seeds=3 && touch {folder}/done)'
    )


def test_a_file_that_is_not_an_ablation_is_refused(answers):
  code, _, err = answers[1]['none']
  assert code == 2 and err.startswith('error: configs/tiny.py has no sweep')


def test_points_are_chosen_by_name(tmp_path):
  points = [program(tmp_path, name) for name in ('a', 'b', 'c')]
  assert sweep._chosen(points, None) == points
  assert sweep._chosen(points, ['c', 'a', 'c']) == [points[2], points[0]]
  with pytest.raises(UserError, match='names d; it takes some of a, b, c'):
    sweep._chosen(points, ['d'])


def program(tmp_path, name, *programs):
  folder = tmp_path / name
  folder.mkdir(exist_ok=True)
  return sweep_runner.SweepPoint(
    name, folder, {}, tuple(('-c', text) for text in programs)
  )


def test_failed_points_run_again_and_done_points_do_not(tmp_path, capsys):
  note = 'open({!r}, "a").write("once;")'
  said = tmp_path / 'said'
  good = program(tmp_path, 'good', note.format(str(said)))
  bad = program(tmp_path, 'bad', 'import sys; sys.exit("no luck")', 'never')
  for _ in range(2):
    assert asyncio.run(sweep_runner.SweepRunner([good, bad], 2).run()) == [bad]
  assert said.read_text() == 'once;'
  assert good.done_path.exists() and not bad.done_path.exists()
  log = (tmp_path / 'bad' / 'log.txt').read_text().splitlines()
  assert log.count('no luck') == 2 and '$ python -c never' not in log
  spent = json.loads((tmp_path / 'bad' / 'seconds.json').read_text())
  assert len(spent) == 1 and 0 <= sum(spent.values()) < 60
  assert 'good: done before' in capsys.readouterr().out


def test_k_points_run_at_a_time(tmp_path):
  """Each point waits for the other, so neither would end alone."""
  wait = (
    'import pathlib, time\n'
    'pathlib.Path({!r}).touch()\n'
    'while not pathlib.Path({!r}).exists(): time.sleep(0.01)'
  )
  a, b = str(tmp_path / 'a'), str(tmp_path / 'b')
  points = [
    program(tmp_path, 'one', wait.format(a, b)),
    program(tmp_path, 'other', wait.format(b, a)),
  ]
  assert not asyncio.run(sweep_runner.SweepRunner(points, 2).run())


def test_a_line_of_shell_is_the_point(tmp_path):
  point = program(tmp_path, 'a b', 'print("a  \'b")', 'print(2)')
  line = point.shell_line.replace('python', shlex.quote(sys.executable))
  for expected in ("a  'b\n2\n", ''):
    answer = subprocess.run(line, shell=True, capture_output=True, text=True)
    assert (answer.returncode, answer.stdout) == (0, expected)


def test_every_point_goes_to_one_slice(tmp_path):
  """The launcher, with a `python` that lists points instead of running them."""
  tools, marks = tmp_path / 'bin', tmp_path / 'marks'
  for folder in (tools, marks, tmp_path / 'launch'):
    folder.mkdir()
  fake = tools / 'python'
  listed = [f"test -e 'no such' || touch {marks}/{name}" for name in 'abcde']
  fake.write_text('#!/bin/sh\ncat <<"E"\n' + '\n'.join(listed) + '\nE\n')
  fake.chmod(0o755)
  setup = f'PYTHON={fake}\nfail() {{ echo "error: $*" >&2; exit 2; }}\n'
  (tmp_path / 'launch' / 'setup.sh').write_text(setup)
  script = shutil.copy(ROOT / 'launch' / 'sweep.sh', tmp_path / 'launch')
  for slice_ in (
    {'SLICE': '1', 'SLICES': '2'},
    {'SLURM_ARRAY_TASK_ID': '0', 'SLURM_ARRAY_TASK_COUNT': '2'},
  ):
    before = {mark.name for mark in marks.iterdir()}
    environment = {'PATH': os.environ['PATH']} | slice_
    line = ['bash', script, 'FILE', '--workdir=x']
    subprocess.run(line, env=environment, check=True)
    new = {mark.name for mark in marks.iterdir()} - before
    assert new == (set('bd') if 'SLICE' in slice_ else set('ace'))
  answer = subprocess.run(
    line, env=environment | {'SLICE': '2', 'SLICES': '2'}, capture_output=True
  )
  assert answer.returncode == 2 and b'count from 0' in answer.stderr


def test_devices_are_divided_among_slots(monkeypatch):
  monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,2,4,6')
  shares = [sweep_runner._devices(slot, 2) for slot in range(2)]
  assert [share['CUDA_VISIBLE_DEVICES'] for share in shares] == ['0,2', '4,6']
  assert sweep_runner._devices(0, 1) == {} == sweep_runner._devices(0, 8)


@pytest.mark.slow
def test_an_interrupted_sweep_continues(tmp_path):
  file, workdir = tmp_path / 'rates.py', tmp_path / 'work'
  file.write_text(FILE.lstrip())
  line = (f'--workdir={workdir}', '--platform=cpu')
  assert finish(start(*line, '--points=rate0.01', file=file))[0] == 0
  assert len(json.loads((workdir / 'table.json').read_text())['points']) == 1

  running = start(*line, file=file)
  saved = workdir / 'rate0.001' / 'checkpoints' / 'codec' / '5'
  while not saved.exists():
    assert running.poll() is None
    time.sleep(0.05)
  running.send_signal(signal.SIGTERM)
  code, out, err = finish(running)
  assert code == 130 and 'rate0.01: done before' in out, err
  assert err == 'stopped; the same command continues\n'
  log = workdir / 'rate0.001' / 'log.txt'
  assert 'codec stopped at step' in log.read_text()

  code, out, err = finish(start(*line, file=file))
  assert code == 0 and 'rate0.001: started' in out, err
  rows = [
    json.loads(row)['step']
    for row in (workdir / 'rate0.001' / 'metrics' / 'codec.jsonl')
    .read_text()
    .splitlines()
  ]
  assert rows.count(5) == 1, 'the training started again'
  table = json.loads((workdir / 'table.json').read_text())
  assert table['table']['rate0.01']['codec psnr']['mean'] > 10
  assert list(table['table']) == ['rate0.01', 'rate0.001']
  assert table['table']['rate0.001']['codec steps']['mean'] == 40
  assert (workdir / 'plot.png').stat().st_size > 5000
  assert 'Do two learning rates differ?' in out

  code, _, err = finish(start(*line, '--config.seed=1', file=file))
  assert code == 2 and 'was made by other commands' in err
