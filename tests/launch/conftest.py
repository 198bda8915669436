"""Launch scripts beside programs that only note what they are asked."""

import os
import pathlib
import subprocess

import pytest

from tests.launch.fakes import FAKE_GCLOUD, FAKE_PYTHON, FAKE_SRUN

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def launch(tmp_path):
  """-> prepare(script, python, **variables) -> run(*arguments, **variables).

  `python` is the source of a command that adds a line to the file `calls`; run
  gives the finished process and those lines.
  """

  def prepare(name, source, **always):
    for folder in ('launch', 'bin'):
      (tmp_path / folder).mkdir()
    python = tmp_path / 'bin' / 'python'
    python.write_text(source)
    python.chmod(0o755)
    script = tmp_path / 'launch' / name
    script.write_text((ROOT / 'launch' / name).read_text())

    def run(*arguments, **variables):
      path = f'{python.parent}:{os.environ["PATH"]}'
      done = subprocess.run(
        ['bash', script, *arguments],
        env={**os.environ, 'PATH': path, **always, **variables},
        capture_output=True,
        text=True,
      )
      calls = tmp_path / 'calls'
      lines = calls.read_text().splitlines() if calls.exists() else []
      calls.unlink(missing_ok=True)
      return done, lines

    return run

  return prepare


@pytest.fixture
def fake(tmp_path):
  """-> run(script, *words, **environment) -> CompletedProcess; and notes."""
  programs = tmp_path / 'bin'
  (tmp_path / 'home').mkdir()
  programs.mkdir()
  for name, text in {
    'gcloud': FAKE_GCLOUD,
    'python3.12': FAKE_PYTHON,
    'ssh': '#!/usr/bin/env bash\necho "ssh $*" >>"$NOTES/calls"\n',
    'srun': FAKE_SRUN,
    'scontrol': '#!/usr/bin/env bash\necho "scontrol $*" >>"$NOTES/calls"\n',
  }.items():
    (programs / name).write_text(text)
    (programs / name).chmod(0o755)
  (tmp_path / 'calls').touch()

  def run(script, *words, **environment):
    inherited = {
      k: v for k, v in os.environ.items() if not k.startswith('SLURM')
    }
    return subprocess.run(
      ['bash', str(ROOT / 'launch' / script), *words],
      env=inherited
      | {
        'PATH': f'{programs}:{os.environ["PATH"]}',
        'NOTES': str(tmp_path),
        'NAME': 'film',
        'ZONE': 'us-east5-a',
        'TYPE': 'v5p-128',
        'POLL_SECS': '0.1',
        'HALT_SECS': '20',
      }
      | environment,
      capture_output=True,
      text=True,
      timeout=300,
      check=False,
    )

  return run, tmp_path
