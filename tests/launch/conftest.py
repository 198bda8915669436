"""Launch scripts beside a `python` that only notes what it is asked."""

import os
import pathlib
import subprocess

import pytest

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
