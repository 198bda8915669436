"""Chooses config.dit.remat=auto: the policy that computes least again and fits.

A stage needs on each device, while the gradient is computed,

  held + gradient + kept(policy) / split + layer,
  layer = (work kept(none) / split + 2 weights) / L                         (1)

where `held` are the state, the frozen networks and the batch, and `gradient`
has the size of the parameters. kept(policy) are the arrays that the loss hands
to its backward pass. They are known from shapes: the loss is traced, which
takes seconds where a compilation takes minutes. `split` devices share the
tokens of a batch. `layer` is the one whose gradient is being computed, with all
that it keeps for a moment; if devices share the weights, also those of two
layers, which they gather.

(1) is an estimate, and `cinejax.plan` tells what the compiler says. For a base
with remat=full on H100s, in GiB of a device:

                                  (1)   compiler
  1.3B, 81 frames, one           43.1       42.1
  1.3B, 237 frames, one          88.9       87.7
  14B, 237 frames, 8 x 8         41.8       41.6

models/remat.py explains the policies.
"""

import dataclasses
import math
import os
from collections.abc import Mapping

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.extend import core as jax_core
from jax.sharding import Mesh

from cinejax.config import Config
from cinejax.core.sharding import BATCH_AXES
from cinejax.core.topology import chip_of
from cinejax.models import remat
from cinejax.training import planned, stages

# `work` of eq. (1), by platform, else 1: so that it is the compiler's for the
# plans in benchmarks/plans.jsonl. A GPU needs less than a layer keeps, because
# XLA fuses; not if tokens are exchanged for heads.
WORK = {'gpu': 0.75, 'cuda': 0.75, 'tpu': 1.6}
SPARE = 0.05  # share of the memory, because (1) may be too small by that


def resolve(
  name: str, cfg: Config, mesh: Mesh, limit: int | None = None
) -> tuple[Config, str]:
  """Replaces config.dit.remat=auto by a policy.

  Args:
    name: a stage, or planned.ROLLOUT.
    cfg: of the run.
    mesh: its devices need not exist.
    limit: bytes of memory of a device; None: as `memory_limit` says.

  Returns:
    The config, and a line that says what was chosen and why; '' if the config
    names a policy, or nothing is differentiated.
  """
  if cfg.dit.remat != 'auto':
    return cfg, ''
  if name == planned.ROLLOUT:
    return with_policy(cfg, 'none'), ''
  limit = limit or memory_limit(mesh)
  needs: dict[str, Need] = {}
  for policy in ('none', *remat.POLICIES):
    needs[policy] = needed(name, with_policy(cfg, policy), mesh, needs)
    if fits := needs[policy].total <= (1 - SPARE) * limit:
      break
  sizes = ', '.join(
    f'{policy} {need.total / 2**30:.1f}' for policy, need in needs.items()
  )
  doubt = '' if fits else ', which may not fit'
  return with_policy(cfg, policy), (
    f'config.dit.remat: {policy}{doubt} (GiB needed: {sizes}; of '
    f'{limit / 2**30:.1f})'
  )


def memory_limit(mesh: Mesh) -> int:
  """Bytes of a device that a program may use, the same on all processes."""
  local = [
    x for x in mesh.devices.flat if x.process_index == jax.process_index()
  ]
  limit = device_limit(local[0], len(local))
  if jax.process_count() > 1:
    limit = np.min(multihost_utils.process_allgather(np.float64(limit)))
  return int(limit)


def device_limit(device: jax.Device, devices: int = 1) -> int:
  """Bytes that a program may use on one of `devices` devices of a process.

  It is the least of what a plan uses and what this process may allocate. CPU
  devices share the memory of the machine.
  """
  chip, stats = chip_of(device.device_kind), device.memory_stats()
  limits = [chip.hbm_bytes] if chip else []
  limits += [stats['bytes_limit']] if stats else []
  memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  return min(limits or [memory // devices])


@dataclasses.dataclass(frozen=True)
class Need:
  """The memory of a device that a stage needs with one policy, eq. (1)."""

  total: int  # bytes
  kept: int  # bytes, kept(policy) / split


def with_policy(cfg: Config, policy: str) -> Config:
  """The config with another config.dit.remat."""
  return dataclasses.replace(
    cfg, dit=dataclasses.replace(cfg.dit, remat=policy)
  )


def needed(
  name: str, cfg: Config, mesh: Mesh, others: Mapping[str, Need]
) -> Need:
  """Equation (1) for the policy of `cfg`.

  Args:
    name: a stage.
    cfg: of the run.
    mesh: its devices need not exist.
    others: what other policies need; `none` is read unless it is the policy.
  """
  program = planned.abstract_program(name, cfg, mesh)
  held = sum(planned.bytes_of(tree) for tree in program.kinds.values())
  params = program.args[0].params
  gradient = planned.bytes_of(params)
  parts = stages.find(name).settings(cfg).accumulate
  if parts > 1:  # a part of the batch adds its gradient to a sum
    gradient *= 2
  kept = kept_bytes(program, mesh, parts)
  whole = kept if cfg.dit.remat == 'none' else others['none'].kept
  layer = _work(mesh) * whole
  if mesh.shape['fsdp'] * mesh.shape['sequence'] > 1:
    layer += 2 * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(params))
  return Need(int(held + gradient + kept + layer / cfg.dit.layers), kept)


def _work(mesh: Mesh) -> float:
  work = WORK.get(mesh.devices.flat[0].platform, 1.0)
  return work if mesh.shape['sequence'] == 1 else max(work, 1.0)


def kept_bytes(
  program: planned.AbstractProgram, mesh: Mesh, parts: int = 1
) -> int:
  """Bytes on a device that the loss hands to its backward pass.

  Args:
    program: an update.
    mesh: its devices.
    parts: of the batch, which are computed one after another.
  """
  state, frozen, batch = program.args
  batch = {
    name: jax.ShapeDtypeStruct((x.shape[0] // parts, *x.shape[1:]), x.dtype)
    for name, x in batch.items()
  }

  def pull(params, state, frozen, batch):
    given = {**frozen, 'ema': state.ema, 'step': state.step}
    loss = lambda p: program.loss_fn(p, batch, state.key, given)  # noqa: E731
    return jax.vjp(loss, params, has_aux=True)[1]

  with jax.set_mesh(mesh):
    jaxpr = jax.make_jaxpr(pull)(state.params, state, frozen, batch).jaxpr
  kept = {x for x in jaxpr.outvars if not isinstance(x, jax_core.Literal)}
  kept -= {*jaxpr.invars, *jaxpr.constvars}
  split = math.prod(mesh.shape[axis] for axis in (*BATCH_AXES, 'sequence'))
  sizes = (x.aval.size * x.aval.dtype.itemsize for x in kept)
  return sum(sizes) // split
