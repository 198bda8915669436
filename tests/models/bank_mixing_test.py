"""What a layer reads from a bank on a TPU.

tests/models/mixing_test.py compares banks with other mixers, and
tests/rollout/stream_test.py their films with those of a scan.
"""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from cinejax.core import topology
from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import bank_mixing, mixing
from tests.plans import needs_tpu_compiler


@pytest.mark.slow
@needs_tpu_compiler
def test_a_tpu_reads_the_frames_of_a_context_and_not_the_bank():
  """A layer of the 1.3B student at 832x480: 6.7 GB when the bank was copied."""
  _, devices = topology.describe('v6e:2x2')
  mesh = make_mesh(MeshConfig(1, 1, 1, 1), devices[:1])
  grid = mixing.TokenGrid(
    frames=3, rows=30, columns=52, implementation='auto', halves=True
  )
  mixer = bank_mixing.BankMixer(
    grid,
    routed=5,
    by_content=True,
    absolute=False,
    scope='layer',
    route_layer=1,
  )

  def attend(q, k, v, bank, start):
    view = router.bank_view(
      bank, start, frames=3, window=9, routed=5, policy='camr'
    )
    layer = mixing.LayerMemory(
      index=jnp.array(0),
      memory=jax.tree.map(lambda x: x[0], bank.memory),
      given_BSR=None,
    )
    shared = mixing.Routing(view=view, decide=jnp.array(True))
    return mixer(q, k, v, shared, layer, router.none_routed(view, 5))[0]

  x = jax.ShapeDtypeStruct((1, 1, 3 * 1560, 12, 128), jnp.bfloat16)
  bank = jax.eval_shape(
    lambda: bank_lib.empty(
      layers=1,
      batch=1,
      frames=64,
      tokens=1560,
      heads=12,
      features=128,
      dtype=jnp.bfloat16,
    )
  )
  args = (x, x, x, bank, jax.ShapeDtypeStruct((1,), jnp.int32))
  place = NamedSharding(mesh, P())
  args = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), args
  )
  with jax.set_mesh(mesh):
    compiled = jax.jit(attend).lower(*args).compile()
  assert compiled.cost_analysis()['bytes accessed'] < 2.5e9
  assert compiled.memory_analysis().temp_size_in_bytes < 0.5e9
