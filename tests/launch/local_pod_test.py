"""launch/local_pod.sh: two processes; one is told to stop, or is killed."""

import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(folder):
  return subprocess.run(
    ['bash', str(ROOT / 'launch/local_pod.sh'), str(folder)],
    cwd=ROOT,
    env=os.environ | {'PYTHON': sys.executable},
    capture_output=True,
    text=True,
    timeout=2400,
    check=False,
  )


def test_a_folder_of_others_is_not_emptied(tmp_path):
  (tmp_path / 'film.mp4').touch()
  told = run(tmp_path)
  assert told.returncode == 2
  assert told.stderr.startswith(f'error: {tmp_path} holds something else')
  assert [path.name for path in tmp_path.iterdir()] == ['film.mp4']


@pytest.mark.slow
def test_two_processes_one_is_told_or_killed_and_one_goes_on(tmp_path):
  told = run(tmp_path / 'run')
  assert told.returncode == 0, told.stdout + told.stderr
  assert 'stop: one process was told, both saved update' in told.stdout
  for stage in ('base', 'dmd'):
    assert f'{stage}: one process went on from update' in told.stdout
  assert told.stdout.count('each of 320 indices occurs once') == 2
