"""What pip installs: every package and a script for every command."""

import configparser
import importlib
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / 'setup.cfg', encoding='utf-8')
SCRIPTS = dict(
  line.split(' = ')
  for line in SETUP['options.entry_points']['console_scripts'].split('\n')
  if line
)
# As an entry point begins: argv[0] is the path of the script.
BEGIN = 'import sys; sys.argv[0] = "/bin/{name}"; from {module} import {call}; '


def test_every_command_has_a_script():
  commands = {
    f'cinejax-{"data-" if folder == "data_prep" else ""}{path.stem}'
    for folder in ('cinejax', 'data_prep')
    for path in (ROOT / folder).glob('*.py')
    if "if __name__ == '__main__':" in path.read_text(encoding='utf-8')
  }
  assert set(SCRIPTS) == commands
  for place in SCRIPTS.values():
    module, call = place.split(':')
    assert callable(getattr(importlib.import_module(module), call))


def test_every_package_is_installed():
  found = {
    path.parent.relative_to(ROOT).parts[0]
    for path in ROOT.glob('*/__init__.py')
  }
  include = SETUP['options.packages.find']['include'].split()
  assert {pattern.removesuffix('*') for pattern in include} == found


@pytest.fixture(scope='module')
def helps(tmp_path_factory):
  """Exit code and output of scripts called with --help outside of a clone."""
  folder = tmp_path_factory.mktemp('elsewhere')
  running = {}
  for name, *line in (
    ('cinejax-direct', '--config=story:four', '--helpshort'),
    ('cinejax-data-story', '--help'),
  ):
    module, call = SCRIPTS[name].split(':')
    begin = BEGIN.format(name=name, module=module, call=call)
    running[name] = subprocess.Popen(
      [sys.executable, '-c', f'{begin}{call}()', *line],
      cwd=folder,
      env={**os.environ, 'PYTHONPATH': str(ROOT)},
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
  done = {}
  for name, process in running.items():
    out, _ = process.communicate(timeout=1200)
    done[name] = process.returncode, out
  return done


@pytest.mark.parametrize(
  ('name', 'flag', 'key'),
  [
    ('cinejax-direct', '--screenplay', 'fps=8.0  # pixel frames per second'),
    ('cinejax-data-story', '--kind', 'fps=16.0  # pixel frames per second'),
  ],
)
def test_help_has_the_commands_flags_and_the_keys(helps, name, flag, key):
  code, out = helps[name]
  assert code == 0, out
  assert f'  {flag}: ' in out
  assert f'--config.film.{key}' in out
