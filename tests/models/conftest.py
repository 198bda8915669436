"""The tiny DiT with random weights, drawn once."""

import pytest

from cinejax.config import resolve
from configs import tiny
from tests.networks import random_dit


@pytest.fixture(scope='session')
def cfg():
  return resolve(tiny.get_config())


@pytest.fixture(scope='session')
def params(cfg):
  return random_dit(cfg.dit)
