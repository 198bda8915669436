"""launch/local_pod.sh: two processes; one is stopped or killed."""

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
  done = run(tmp_path)
  assert done.returncode == 2
  assert done.stderr.startswith(f'error: {tmp_path} holds something else')
  assert [path.name for path in tmp_path.iterdir()] == ['film.mp4']


@pytest.mark.slow
def test_one_of_two_processes_is_stopped_or_killed_and_one_continues(tmp_path):
  done = run(tmp_path / 'run')
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'stop: one process was stopped, both saved update' in done.stdout
  for stage in ('base', 'dmd'):
    assert f'{stage}: one process continued from update' in done.stdout
  assert done.stdout.count('each of 320 indices occurs once') == 2
