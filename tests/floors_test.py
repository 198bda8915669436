"""The contracts of setup.cfg: floors, no cycles, who may import what."""

import configparser
import pathlib
import re
import subprocess
import sys

import grimp
import pytest

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


def test_the_map_agrees_with_the_contracts():
  """docs/architecture.md has each room once, on the floor of its layer."""
  contracts = configparser.ConfigParser()
  contracts.read(ROOT / 'setup.cfg')
  layers = contracts['importlinter:contract:floors']['layers'].split('\n')
  layers = [re.split(r' *[|:] *', layer) for layer in layers if layer]
  contracted = sorted(
    (floor, room)
    for floor, rooms in enumerate(reversed(layers), 1)
    for room in rooms
  )

  text = (ROOT / 'docs' / 'architecture.md').read_text(encoding='utf-8')
  rows = re.findall(r'^\| (\d+) \| ([^|]+) \|', text, re.MULTILINE)
  drawn = sorted(
    (int(floor), room)
    for floor, rooms in rows
    for room in re.findall(r'`(\w+)`', rooms)
  )
  assert drawn == contracted


SETTINGS = sorted(
  f'cinejax.{path.parent.name}.config'
  for path in (ROOT / 'cinejax').glob('*/config.py')
)


@pytest.fixture(scope='module')
def graph():
  return grimp.build_graph('cinejax', cache_dir=None)


@pytest.mark.parametrize('module', SETTINGS)
def test_settings_import_nothing_of_ours_but_settings(graph, module):
  """So cinejax.config, below some of their packages, may import them all."""
  assert graph.find_modules_directly_imported_by(module) <= {*SETTINGS}
