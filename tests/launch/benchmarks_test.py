"""launch/benchmarks.sh, with a `python` that notes what it is asked."""

import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/bash
echo "$*" >> calls
for argument in "$@"; do
  case "$argument" in
    --out=*) out="${argument#*=}" ;;
  esac
done
case "$*" in
  *"${BREAK:-never}"*) exit 75 ;;
  *bench*) echo "$*" >> "$out" ;;
  *)
    mkdir -p "$out" && touch "$out/recall.png"
    echo "$*" > "$out/report.json"
    ;;
esac
"""


@pytest.fixture
def run(launch, tmp_path):
  (tmp_path / 'weights').mkdir()
  return launch('benchmarks.sh', PYTHON, WEIGHTS='weights')


def test_every_table_is_made_once_and_a_stopped_run_continues(run, tmp_path):
  shipped = {
    path.name for path in (ROOT / 'benchmarks').glob('story*') if path.is_file()
  }
  for student in ('four', 'one', 'two'):
    (tmp_path / 'weights' / f'{student}.safetensors').touch()
  done, calls = run('out', '--config.eval.films=2', BREAK='metrics=codec')
  assert done.returncode == 75 and len(calls) == 6
  done, calls = run('out', '--config.eval.films=2')
  assert done.returncode == 0, done.stderr
  # codec, cast, each student twice, minutes, nine times of policies, speed,
  # train, serve, soak
  assert len(calls) == 22
  assert all('--config.eval.films=2' in call for call in calls)
  for i in (2, 3, 8, 20, 21):
    assert '--config=configs/story.py:four --weights=weights' in calls[i]
  made = {path.name for path in (tmp_path / 'out').glob('story*')}
  assert made == shipped
  policies = (tmp_path / 'out' / 'story_policies.json').read_text()
  assert '--metrics=given' in policies and ',full' in policies
  assert not run('out')[1]


def test_it_asks_where_to(run):
  for arguments in ((), ('--config.seed=1',)):
    done, calls = run(*arguments)
    assert done.returncode == 2 and not calls
    assert done.stderr.startswith('error: ')
