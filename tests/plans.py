"""A small config for tests of plans, and marks of the compilers they need."""

import importlib.util
import os

import pytest

from cinejax.config import resolve
from configs import tiny

needs_tpu_compiler = pytest.mark.skipif(
  not (importlib.util.find_spec('libtpu') or os.getenv('TPU_LIBRARY_PATH')),
  reason="needs pip install 'cinejax[plan-tpu]'",
)
needs_gpu_compiler = pytest.mark.skipif(
  not importlib.util.find_spec('jax_cuda13_plugin'),
  reason="needs pip install 'cinejax[plan-gpu]'",
)


def make_config(**changes):
  config = tiny.get_config()
  config.stage.base.batch = 4
  config.update_from_flattened_dict(
    {key.replace('__', '.'): value for key, value in changes.items()}
  )
  return resolve(config)
