"""The memory of the host that a large sharded checkpoint takes."""

import json
import pathlib
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.interop import sizes, views
from cinejax.interop.shards import write_shards
from cinejax.models.config import DiTConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHARD = 96_000_000  # bytes
ALLOWED = 1.3  # of a shard
DIT = DiTConfig(
  layers=24,
  heads=4,
  head_features=128,
  mlp_features=3072,
  patch=(1, 2, 2),
  positions=(0, 0),
  actions=0,
  time_features=256,
  channels=16,
  text_features=1024,
  epsilon=1e-6,
  compute_dtype='float32',
  remat='none',
  attention='xla',
  unroll='none',
)
# Each program prints the growth of its peak resident memory, and the size of
# the arrays that it returns.
HEAD = """
import json, resource, sys, types
import jax
jax.config.update('jax_num_cpu_devices', 4)
from cinejax.core import sharding, tree
from cinejax.interop import archive, sizes, views
from cinejax.interop.shards import write_shards
from cinejax.interop.weights import load_params
path, out = sys.argv[1:]
opened = archive.open_archive(path)
cfg = sizes.read_sizes(opened, 'wan')
shapes = sizes.leaf_shapes(cfg)
mesh = sharding.make_mesh(
  types.SimpleNamespace(data=1, fsdp=-1, sequence=1, tensor=1))
def peak():
  return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
jax.block_until_ready(jax.numpy.ones(8) + 1)
before = peak()
"""
CONVERT = """
leaves = views.to_leaves(opened.tensors, 'wan', shapes)
write_shards(out, 'base', leaves, {}, shard_bytes=10**10)
print(json.dumps([peak() - before, 0]))
"""
LOAD = """
like = tree.nested(
  {k: jax.ShapeDtypeStruct(s, 'bfloat16') for k, s in shapes.items()})
like = jax.tree.map(
  lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
  like, sharding.param_shardings(like, mesh))
params = load_params(path, like)
kept = sum(s.data.nbytes for x in jax.tree.leaves(params)
           for s in x.addressable_shards)
print(json.dumps([peak() - before, kept]))
"""


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
  """A checkpoint in Wan's layout: float32, seven shards."""
  folder = tmp_path_factory.mktemp('wan')
  shapes = sizes.leaf_shapes(DIT)
  ones = np.ones((), jnp.float32)
  leaves = {name: np.broadcast_to(ones, s) for name, s in shapes.items()}
  tensors = views.from_leaves(leaves, 'wan')
  index = write_shards(folder, 'm', tensors, {}, shard_bytes=SHARD)
  shards = sorted(path.stat().st_size for path in folder.glob('*.safetensors'))
  assert len(shards) > 5
  return index, shards[-1]


@pytest.mark.slow
@pytest.mark.parametrize('what', [CONVERT, LOAD], ids=['convert', 'load'])
def test_the_host_holds_about_a_shard(checkpoint, tmp_path, what):
  index, largest = checkpoint
  line = [sys.executable, '-c', HEAD + what, str(index), str(tmp_path)]
  done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  grown, kept = json.loads(done.stdout)
  print(f'grown {grown}, kept {kept}, largest shard {largest} bytes')
  assert grown - kept <= ALLOWED * largest
