import importlib.util

import jax
import pytest

from cinejax.core import topology
from cinejax.core.errors import UserError


@pytest.mark.parametrize(
  'name', ['v5p', 'v7x:2x2', 'v5p-128', 'h100:8', 'v5e:0x', 'h100:1x1x8*2']
)
def test_an_unknown_topology_is_a_user_error(name, monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda _: True)
  with pytest.raises(UserError, match=r'--topology='):
    topology.describe(name)


@pytest.mark.parametrize(
  ('name', 'extra'), [('v5p:2x2x1', 'plan-tpu'), ('h100:1x1x8', 'plan-gpu')]
)
def test_a_missing_compiler_is_a_user_error(name, extra, monkeypatch):
  monkeypatch.setattr(importlib.util, 'find_spec', lambda _: None)
  monkeypatch.delenv('TPU_LIBRARY_PATH', raising=False)
  with pytest.raises(UserError, match=rf"not installed; .*\[{extra}\]'"):
    topology.describe(name)


def test_virtual_devices_are_those_of_this_process():
  _, devices = topology.describe('cpu:2')
  assert devices == jax.devices()[:2]
  with pytest.raises(UserError, match='this process has 8'):
    topology.describe('cpu:16')


@pytest.mark.parametrize(
  ('kind', 'name'),
  [
    ('TPU v5', 'v5p'),
    ('TPU v5 lite', 'v5e'),
    ('TPU v5e', 'v5e'),
    ('TPU v5p', 'v5p'),
    ('NVIDIA H100 80GB HBM3', 'h100'),
    ('cpu', None),
  ],
)
def test_a_chip_is_found_by_its_device_kind(kind, name):
  chip = topology.chip_of(kind)
  assert (chip.name if chip else None) == name
