"""The programs of training and rollout as shapes.

They can be compiled and counted, but not run: each argument is described by its
shape, type and sharding on a mesh, and no data and no weights are read. The
programs are one update of each stage, and one call of a rollout.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from cinejax.config import Config
from cinejax.core import flops
from cinejax.core import tree as tree_lib
from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.core.sharding import (
  BATCH_AXES,
  batch_sharding,
  check_heads,
  make_mesh,
  param_shardings,
  part_of,
  replicated,
  with_shardings,
)
from cinejax.core.topology import chip_of
from cinejax.directing.rollout_programs import first_state, make_step
from cinejax.models import denoiser
from cinejax.models.arrangement import arranged
from cinejax.models.codec.select import make_codec
from cinejax.models.text import umt5
from cinejax.rollout.placement import state_shardings
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import ChunkInput
from cinejax.training import stages
from cinejax.training.adaptation import adapted
from cinejax.training.metrics import Work
from cinejax.training.stage import Repeats
from cinejax.training.state import abstract_state, make_init, shardings
from cinejax.training.steps import LossFn, make_train_step

ROLLOUT = 'rollout'
PROGRAMS = (*(stage.name for stage in stages.STAGES), ROLLOUT)


@dataclasses.dataclass(frozen=True)
class AbstractProgram:
  """A jitted function and the shapes of its arguments.

  Attributes:
    fn: the function.
    args: trees of jax.ShapeDtypeStruct with shardings.
    kinds: what the arguments hold, by name, such as `params`.
    beside: what else is on the devices while it runs, by name.
    loss_fn: the loss of an update (training/steps.py); None in a rollout.
  """

  fn: Callable[..., Any]
  args: tuple[Any, ...]
  kinds: dict[str, Any]
  beside: dict[str, Any] = dataclasses.field(default_factory=dict)
  loss_fn: LossFn | None = None


def abstract_program(
  name: str,
  cfg: Config,
  mesh: Mesh,
  optimizer: optax.GradientTransformation | None = None,
) -> AbstractProgram:
  """Describes a program on a mesh.

  Args:
    name: one of PROGRAMS.
    cfg: of the run.
    mesh: its devices need not exist.
    optimizer: used in place of that of the stage.

  Raises UserError if there is no such program, or the mesh does not divide the
  model or the batch.
  """
  if name == ROLLOUT:
    return _rollout(cfg, mesh)
  if name in PROGRAMS:
    return _update(name, cfg, mesh, optimizer)
  raise UserError(f'--stage={name} is none of {", ".join(PROGRAMS)}')


def count_flops(name: str, cfg: Config, remat: str) -> int:
  """Counts the floating point operations of one call, over all devices.

  Where updates differ this is their mean, as Stage.repeats says.
  """
  dit = dataclasses.replace(cfg.dit, attention='xla', remat=remat)
  one_device = make_mesh(MeshConfig(1, 1, 1, 1), jax.local_devices()[:1])
  program = abstract_program(
    name, dataclasses.replace(cfg, dit=dit), one_device
  )
  repeats = Repeats()
  if name != ROLLOUT:
    repeats = stages.find(name).repeats(cfg)
  return flops.count(program.fn, *program.args, **repeats._asdict())


def work(name: str, cfg: Config, mesh: Mesh) -> Work:
  """The work of one update of the stage `name`, as far as it is known.

  Its operations are not known on a chip without an entry in core/topology.py,
  for adapters, where part of the backward pass is left out, and for a stage
  whose updates vary in length.
  """
  stage = stages.find(name)
  tokens = stage.count_tokens(cfg)
  chip = chip_of(mesh.devices.flat[0].device_kind)
  if chip is None or not tokens:
    return Work(tokens=tokens)
  if stage.settings(cfg).lora.rank or stage.length_varies:
    return Work(tokens=tokens)
  count = count_flops(name, cfg, remat='none')
  return Work(tokens, count, chip.flops * mesh.size)


def check_mesh(name: str, cfg: Config, mesh: Mesh) -> None:
  """Raises UserError if the mesh does not fit the program `name`.

  The mesh must divide the heads and the batch, and each host must be able to
  give its devices their part of the batch. A dimension that is not divided
  would be computed in full on each device, which is correct but slow.
  """
  check_heads(cfg.dit.heads, mesh)
  settings = getattr(cfg.stage, name, None)
  if settings is None:
    return
  split = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
  if settings.batch % (split * settings.accumulate):
    parts = f' {settings.accumulate} times' if settings.accumulate > 1 else ''
    raise UserError(
      f'config.stage.{name}.batch is {settings.batch}; it must be a multiple '
      f'of{parts} the {split} devices along the axes '
      f'{" and ".join(BATCH_AXES)} of the mesh'
    )
  for process in {device.process_index for device in mesh.devices.flat}:
    part_of(mesh, process)


def bytes_of(tree: Any) -> int:
  """The bytes on one device of arrays, or of shapes with shardings."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64))
    * jax.dtypes.itemsize_bits(x.dtype)
    // 8
    for x in jax.tree.leaves(tree)
    if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  )


@dataclasses.dataclass(frozen=True)
class _Captions:
  """Stands for a text encoder, which needs no weights for shapes."""

  cfg: Any

  def encode(self, prompts):
    shape = (len(prompts), self.cfg.rows, self.cfg.features)
    return np.zeros(shape, np.float32)


def _update(name: str, cfg: Config, mesh: Mesh, optimizer) -> AbstractProgram:
  stage = stages.find(name)
  settings = stage.settings(cfg)
  check_mesh(name, cfg, mesh)
  program = stage.describe(cfg, _Captions(cfg.text))
  if settings.lora.rank:
    program = adapted(program, settings.lora)
  optimizer = optimizer or program.optimizer_fn(settings)
  init = make_init(program.init_fn, optimizer, cfg.seed, program.ships)
  state = abstract_state(init, mesh)
  frozen = {
    name: _placed(network.init_fn, mesh)
    for name, network in program.frozen.items()
  }
  step = make_train_step(
    program.loss_fn,
    optimizer,
    settings,
    mesh,
    shardings(state),
    shardings(frozen),
    batch_sharding(mesh),
    program.ships,
  )
  batch = with_shardings(stage.make_batch(cfg), batch_sharding(mesh))
  kinds = {
    'params': state.params,
    'optimizer': state.opt_state,
    'ema': state.ema,
    'frozen': frozen,
    'batch': batch,
  }
  return AbstractProgram(
    step, (state, frozen, batch), kinds, loss_fn=program.loss_fn
  )


def _rollout(cfg: Config, mesh: Mesh) -> AbstractProgram:
  """One call of a rollout of one film: config.rollout.chunks_per_call chunks.

  Beside it are the codec, and UMT5 if that encodes the prompts. With an archive
  it is the call of the bank alone, and the descriptors of archived frames are
  beside it: compilers that have no devices do not know their host's memory.
  """
  films, captions = 1, _Captions(cfg.text)
  check_mesh(ROLLOUT, cfg, mesh)
  archived = cfg.memory.archived_frames
  memory = dataclasses.replace(cfg.memory, archive='none')
  cfg = dataclasses.replace(cfg, memory=memory)
  params = _placed(functools.partial(denoiser.init_params, cfg.dit), mesh)
  params = with_shardings(
    params, shardings(params), denoiser.resting_types(cfg.dit, params)
  )
  params = jax.eval_shape(
    lambda x: arranged(cfg.dit, x, mesh.devices.flat[0].platform), params
  )
  params = with_shardings(params, param_shardings(params, mesh))
  step = make_step(cfg, captions.encode([''])[0])
  state = jax.eval_shape(
    lambda: first_state(cfg, jax.random.split(jax.random.key(0), films))
  )
  state = with_shardings(state, state_shardings(state, mesh))
  scan = cfg.rollout.chunks_per_call
  chunks = ChunkInput(
    text_BWD=jax.ShapeDtypeStruct(
      (scan, films, cfg.text.rows, cfg.text.features), jnp.float32
    ),
    cut_B=jax.ShapeDtypeStruct((scan, films), jnp.bool_),
  )
  kinds = {'params': params, 'bank': state}
  beside = {'codec': with_shardings(_decoder(cfg, films), replicated(mesh))}
  if archived:
    one = state.bank.memory.descriptor
    branches = 1 if state.negative is None else 2
    shape = branches, *one.shape[:2], archived, *one.shape[3:]
    beside['descriptors'] = with_shardings(
      jax.ShapeDtypeStruct(shape, one.dtype), replicated(mesh)
    )
  if cfg.text.name == 'umt5':
    published = functools.partial(tree_lib.cast, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(published, umt5.shapes(umt5.XXL))
    beside['text'] = with_shardings(shapes, param_shardings(shapes, mesh))
  return AbstractProgram(
    make_scan(step), (params, state, chunks), kinds, beside
  )


def _decoder(cfg: Config, films: int) -> Any:
  """The parameters of the codec, and its state between chunks."""
  codec = make_codec(cfg.codec)
  params = jax.eval_shape(codec.init, jax.random.key(0))
  shape = (films, *cfg.frame_shape)
  return params, jax.eval_shape(lambda p: codec.init_decode(p, shape), params)


def _placed(init_fn: Callable[[jax.Array], Any], mesh: Mesh) -> Any:
  shapes = jax.eval_shape(init_fn, jax.random.key(0))
  return with_shardings(shapes, param_shardings(shapes, mesh))
