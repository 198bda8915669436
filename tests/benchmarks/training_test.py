"""What is measured of updates."""

import jax
import jax.numpy as jnp
import pytest

from cinejax.benchmarks import training
from cinejax.config import resolve
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from configs import tiny


def test_a_batch_that_the_mesh_does_not_divide_is_refused():
  with pytest.raises(UserError, match=r'config\.stage\.base\.batch is 2'):
    training.measure_train(resolve(tiny.get_config()), 'base', repeats=1)


@pytest.mark.slow
def test_a_stage_of_three_networks_is_timed():
  config = tiny.get_config()
  config.mesh.tensor = 2
  config.stage.dmd.batch = 4
  row = training.measure_train(resolve(config), 'dmd', repeats=1)
  assert row['stage'] == 'dmd' and row['batch'] == 4
  assert row['tokens_per_sec'] > 0 and row['mfu'] is None  # of CPUs not known


def test_the_peak_is_that_of_all_devices():
  """Operations are counted over devices, here of one core each or less."""
  one, two = (
    training.peak_flops(
      make_mesh(MeshConfig(1, -1, 1, 1), jax.devices()[:count]),
      jnp.dtype('float32'),
      size=256,
    )
    for count in (1, 2)
  )
  assert 1e8 < one < 1e13 and 1e8 < two < 1e13
