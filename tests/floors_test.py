"""The contracts of setup.cfg: floors, no cycles, who may import what."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]


def test_imports_keep_to_the_contracts_of_setup_cfg():
  lint = 'from importlinter.cli import lint_imports_command as run; run()'
  answer = subprocess.run(
    [sys.executable, '-c', lint, '--no-cache', '--no-logo'],
    cwd=ROOT,
    capture_output=True,
    text=True,
  )
  assert answer.returncode == 0, answer.stdout + answer.stderr
  assert '0 broken' in answer.stdout
