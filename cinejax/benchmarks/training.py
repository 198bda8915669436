"""Measures the speed of training: updates of a stage on random batches.

Updates are those of `cinejax.train`; networks are random too. With s the mean
seconds of an update of B films in U noisy copies

  film_ms = 1000 s / (B U)                                                 (1)
"""

import statistics
import time
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cinejax.benchmarks import rollout
from cinejax.benchmarks.rollout import Measurement
from cinejax.config import Config
from cinejax.core import tree as tree_lib
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.training import planned, remat
from cinejax.training.stages import find
from cinejax.training.state import shardings
from cinejax.training.steps import place


def measure_train(cfg: Config, stage: str, repeats: int) -> Measurement:
  """Times an update of `stage` as `cinejax.train` makes it, on cfg.mesh.

  Raises UserError if the mesh does not divide the batch.
  """
  mesh = make_mesh(cfg.mesh)
  cfg, _ = remat.resolve(stage, cfg, mesh)
  program = planned.abstract_program(stage, cfg, mesh)
  state, frozen, _ = program.args
  with jax.set_mesh(mesh):
    state, frozen = _random_networks((state, frozen))
    batch = place(_random_batch(cfg, stage), batch_sharding(mesh))
    compiled, compile_secs = rollout.compile_timed(
      program.fn, state, frozen, batch
    )
    secs = rollout.time_calls(
      lambda state: compiled(state, frozen, batch), state, repeats
    )
  work = planned.work(stage, cfg, mesh)
  settings, copies = find(stage).settings(cfg), find(stage).copies(cfg)
  mean = statistics.mean(secs)  # a mean, because updates of dmd differ
  films = settings.batch * copies
  flops_per_sec = planned.count_flops(stage, cfg, remat='none') / mean
  return {
    'stage': stage,
    'batch': settings.batch,
    'copies': copies,
    'chunks': cfg.data.chunks,
    'film_ms': 1e3 * mean / films,
    'gflops_per_sec': flops_per_sec / 1e9,
    'measured_peak_share': flops_per_sec
    / peak_flops(mesh, jnp.dtype(cfg.dit.compute_dtype)),
    'training': cfg.memory.training,
    'remat': cfg.dit.remat,
    'moments_dtype': settings.moments_dtype,
    'compile_secs': compile_secs,
    'step_ms': rollout.spread_ms(secs),
    'tokens_per_sec': work.tokens / mean if work.tokens else None,
    'mfu': work.flops / mean / work.peak_flops if work.peak_flops else None,
    **rollout.environment(cfg, compiled),
  }


def peak_flops(mesh: Mesh, dtype: jnp.dtype, size: int = 0) -> float:
  """Operations per second of large products on all devices of `mesh`.

  Each device multiplies two [size, size] matrices of its own; the best of ten
  times counts.

  Args:
    mesh: the devices.
    dtype: of the matrices.
    size: rows and columns; 0 = 2048 on a CPU, 8192 elsewhere.
  """
  size = size or (2048 if mesh.devices.flat[0].platform == 'cpu' else 8192)
  axes = mesh.axis_names
  rows = NamedSharding(mesh, PartitionSpec(axes, None, None))
  x = jax.device_put(jnp.ones((mesh.size, size, size), dtype), rows)
  product = jax.jit(lambda x: x @ x, out_shardings=rows)
  jax.block_until_ready(product(x))
  times = []
  for _ in range(10):
    start = time.perf_counter()
    jax.block_until_ready(product(x))
    times.append(time.perf_counter() - start)
  return 2 * mesh.size * size**3 / min(times)


def _random_networks(tree: Any) -> Any:
  """Random arrays on the devices, with the optimizer's state at zero."""

  def leaf(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> jax.Array:
    name = tree_lib.path_name(path)
    if 'opt_state' in name or not jnp.issubdtype(x.dtype, jnp.floating):
      return jnp.zeros(x.shape, x.dtype)
    key = jax.random.key(zlib.crc32(name.encode()))
    return jax.random.uniform(key, x.shape, x.dtype, -0.04, 0.04)

  return jax.jit(
    lambda: jax.tree_util.tree_map_with_path(leaf, tree),
    out_shardings=shardings(tree),
  )()


def _random_batch(cfg: Config, stage: str) -> dict[str, np.ndarray]:
  """A batch of random films without padding, with shots of two chunks each."""
  rng = np.random.default_rng(cfg.seed)

  def array(name: str, x: jax.ShapeDtypeStruct) -> np.ndarray:
    if name == 'mask':
      return np.ones(x.shape, x.dtype)
    if name == 'shots':
      shots_N = np.arange(x.shape[1], dtype=x.dtype) // 2
      return np.tile(shots_N, (x.shape[0], 1))
    if jnp.issubdtype(x.dtype, jnp.integer):
      return rng.integers(256, size=x.shape, dtype=x.dtype)
    return rng.standard_normal(x.shape, x.dtype)

  batch = find(stage).make_batch(cfg)
  return {name: array(name, x) for name, x in batch.items()}
