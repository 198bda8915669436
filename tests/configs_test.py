"""Every file under configs/ is a config, and every point of every sweep."""

import importlib
import pathlib

import pytest

from cinejax.config import resolve

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULES = [
  '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  for path in sorted((ROOT / 'configs').rglob('*.py'))
  if path.stem != '__init__'
]


def points():
  for name in MODULES:
    module = importlib.import_module(name)
    for i, point in enumerate(getattr(module, 'sweep', list)()):
      yield pytest.param(module, point, id=f'{name}-{i}')


@pytest.mark.parametrize('name', MODULES)
def test_a_config_resolves(name):
  module = importlib.import_module(name)
  assert resolve(module.get_config()).name
  assert module.__doc__, 'the docstring of a config is its runbook'


@pytest.mark.parametrize(('module', 'point'), list(points()))
def test_a_point_of_a_sweep_resolves(module, point):
  config = module.get_config().lock()
  config.update_from_flattened_dict(point)
  resolve(config)
