"""The product's own programs as shapes: to be compiled, or counted, not run.

What a stage trains, and one call of a rollout, with every argument described
by its shape, type and place on a mesh. No data and no weights are read.
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
from cinejax.models.codec.select import make_codec
from cinejax.models.text import umt5
from cinejax.objectives.causal_ode import STUDENT_STEPS
from cinejax.rollout.placement import state_shardings
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import ChunkInput
from cinejax.training import stages
from cinejax.training.adaptation import adapted
from cinejax.training.metrics import Work
from cinejax.training.state import abstract_state, make_init, shardings
from cinejax.training.steps import make_train_step

PROGRAMS = (*(stage.name for stage in stages.STAGES), 'rollout')


@dataclasses.dataclass(frozen=True)
class AbstractProgram:
  """A jitted function, its arguments, and these by kind."""

  fn: Callable[..., Any]
  args: tuple[Any, ...]  # jax.ShapeDtypeStruct with shardings
  kinds: dict[str, Any]  # what the arguments hold, by name
  # what else is on the devices meanwhile, by name
  beside: dict[str, Any] = dataclasses.field(default_factory=dict)


def abstract_program(
  name: str,
  cfg: Config,
  mesh: Mesh,
  optimizer: optax.GradientTransformation | None = None,
) -> AbstractProgram:
  """The program `name`, of PROGRAMS, of `cfg` on `mesh`.

  `optimizer` stands in for the stage's own.

  Raises UserError where the mesh does not divide the model or the batch.
  """
  if name == 'rollout':
    return _rollout(cfg, mesh)
  if name in PROGRAMS:
    return _update(name, cfg, mesh, optimizer)
  raise UserError(f'--stage={name} is none of {", ".join(PROGRAMS)}')


def count_flops(name: str, cfg: Config, remat: str) -> int:
  """Floating point operations of one call, over all devices.

  Of `dmd` a mean over updates: the student's turn is one of config.dmd.every,
  and its chunks end after one to J of J steps. What `tune` rolls out before
  its window counts as one chunk, whatever its length.
  """
  dit = dataclasses.replace(cfg.dit, attention='xla', remat=remat)
  alone = make_mesh(MeshConfig(1, 1, 1, 1), jax.local_devices()[:1])
  program = abstract_program(name, dataclasses.replace(cfg, dit=dit), alone)
  turns, passes = 1.0, 1.0
  if name in ('dmd', 'tune'):
    turns = 1 / cfg.dmd.every
  if name == 'dmd':
    passes = (1 + cfg.rollout.steps) / 2
  return flops.count(program.fn, *program.args, often=turns, trips=passes)


def work(name: str, cfg: Config, mesh: Mesh) -> Work:
  """What an update of a stage does, as far as it can be told."""
  if name == 'codec':  # has no tokens
    return Work()
  rows, columns = (
    size // patch
    for size, patch in zip(cfg.frame_shape[:2], cfg.dit.patch[1:], strict=True)
  )
  settings = getattr(cfg.stage, name)
  frames = settings.batch * cfg.data.chunks * cfg.film.frames_per_chunk
  tokens = frames * rows * columns
  chip = chip_of(mesh.devices.flat[0].device_kind)
  # adapters are no whole updates, and how long `tune` rolls out is drawn
  if chip is None or settings.lora.rank or name == 'tune':
    return Work(tokens=tokens)
  count = count_flops(name, cfg, remat='none')
  return Work(tokens, count, chip.flops * mesh.size)


def check_mesh(name: str, cfg: Config, mesh: Mesh) -> None:
  """Raises UserError unless the mesh divides what program `name` splits, and
  its hosts can feed it.

  A dimension that is not divided would stay whole: right, and slow.
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
  """On one device, of arrays or shapes with shardings."""
  return sum(
    int(np.prod(x.sharding.shard_shape(x.shape), dtype=np.int64))
    * jax.dtypes.itemsize_bits(x.dtype)
    // 8
    for x in jax.tree.leaves(tree)
    if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
  )


@dataclasses.dataclass(frozen=True)
class _Captions:
  """Stands for a text encoder, whose weights may not be here."""

  cfg: Any

  def encode(self, prompts):
    shape = (len(prompts), self.cfg.rows, self.cfg.features)
    return np.zeros(shape, np.float32)


def _update(name: str, cfg: Config, mesh: Mesh, optimizer) -> AbstractProgram:
  settings = getattr(cfg.stage, name)
  check_mesh(name, cfg, mesh)
  program = stages.describe(cfg, name, _Captions(cfg.text))
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
  batch = with_shardings(make_batch(cfg, name), batch_sharding(mesh))
  kinds = {
    'params': state.params,
    'optimizer': state.opt_state,
    'ema': state.ema,
    'frozen': frozen,
    'batch': batch,
  }
  return AbstractProgram(step, (state, frozen, batch), kinds)


def make_batch(cfg: Config, name: str) -> dict[str, jax.ShapeDtypeStruct]:
  """What the pipeline makes for an update of the stage `name`."""
  films, chunks = getattr(cfg.stage, name).batch, cfg.data.chunks
  if name == 'codec':
    video = (films, cfg.story.clip_frames, cfg.film.height, cfg.film.width, 3)
    return {'video': jax.ShapeDtypeStruct(video, jnp.uint8)}
  shapes = {
    'latents': (chunks * cfg.film.frames_per_chunk, *cfg.frame_shape),
    'text': (chunks, cfg.text.rows, cfg.text.features),
    'mask': (chunks,),
    'shots': (chunks,),
  }
  if name == 'init' and cfg.init.trajectories:
    frames, *rest = shapes['end'] = shapes['latents']
    shapes['points'] = (frames, STUDENT_STEPS, *rest)
  return {
    name: jax.ShapeDtypeStruct(
      (films, *shape), jnp.int32 if name == 'shots' else jnp.float32
    )
    for name, shape in shapes.items()
  }


def _rollout(cfg: Config, mesh: Mesh) -> AbstractProgram:
  """One call of a rollout of one film: config.rollout.chunks_per_call.

  Beside it are what decodes its frames and, of umt5, what reads its prompts.
  """
  films, captions = 1, _Captions(cfg.text)
  check_mesh('rollout', cfg, mesh)
  params = _placed(functools.partial(denoiser.init_params, cfg.dit), mesh)
  params = with_shardings(
    params, shardings(params), denoiser.resting_types(cfg.dit, params)
  )
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
  if cfg.text.name == 'umt5':
    published = functools.partial(tree_lib.cast, dtype=jnp.bfloat16)
    shapes = jax.eval_shape(published, umt5.shapes(umt5.XXL))
    beside['text'] = with_shardings(shapes, param_shardings(shapes, mesh))
  return AbstractProgram(
    make_scan(step), (params, state, chunks), kinds, beside
  )


def _decoder(cfg: Config, films: int) -> Any:
  """The codec's parameters, and what it remembers between chunks."""
  codec = make_codec(cfg.codec)
  params = jax.eval_shape(codec.init, jax.random.key(0))
  shape = (films, *cfg.frame_shape)
  return params, jax.eval_shape(lambda p: codec.init_decode(p, shape), params)


def _placed(init_fn: Callable[[jax.Array], Any], mesh: Mesh) -> Any:
  shapes = jax.eval_shape(init_fn, jax.random.key(0))
  return with_shardings(shapes, param_shardings(shapes, mesh))
