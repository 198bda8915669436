"""Trains the stages of a config: builds, restores, updates, writes weights."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from cinejax.config import Config
from cinejax.core.files import write_json
from cinejax.core.sharding import (
  batch_sharding,
  param_shardings,
  with_shardings,
)
from cinejax.interop.adapters import save_adapter
from cinejax.interop.tensors import save_tree
from cinejax.interop.weights import load_params
from cinejax.models import denoiser
from cinejax.training import loop, phases, planned, remat
from cinejax.training.adaptation import adapted
from cinejax.training.checkpoint import Checkpoints
from cinejax.training.config import LoraConfig
from cinejax.training.metrics import MetricWriter
from cinejax.training.profile import Profile
from cinejax.training.program import Frozen, Program
from cinejax.training.progress import ProgressDisplay
from cinejax.training.stages import Stage, check, find
from cinejax.training.state import (
  Params,
  TrainState,
  abstract_state,
  branch,
  make_init,
  shardings,
  start_from,
)
from cinejax.training.steps import make_train_step


def run(
  cfg: Config, workdir: pathlib.Path, mesh: Mesh, profile: str = ''
) -> None:
  """Trains the stages of `cfg.train.stages` that are not finished.

  Args:
    cfg: of the run.
    workdir: the folder for weights, checkpoints, metrics and samples.
    mesh: the devices.
    profile: FIRST:LAST, the updates of each stage to trace; '' = none.

  Raises:
    UserError: a stage is unknown, or its weights or data are missing.
    stop.Stopped: a signal came, and the state of the stage is saved.
  """
  todo = []
  for stage in [find(name) for name in cfg.train.stages]:
    path = workdir / stage.file_name
    if path.exists():
      _print(
        f'{stage.name}: done before, {path}; remove it to continue training'
      )
    else:
      todo.append(stage)
  check(todo, cfg, workdir)
  if todo and jax.process_index() == 0:
    write_json(workdir / 'config.json', dataclasses.asdict(cfg))
  for stage in todo:
    run_stage(stage, cfg, workdir, mesh, profile)
    # All hosts read in the next stage what the first host wrote.
    multihost_utils.sync_global_devices(stage.file_name)
    _print(f'{stage.name}: wrote {workdir / stage.file_name}')


def run_stage(
  stage: Stage,
  cfg: Config,
  workdir: pathlib.Path,
  mesh: Mesh,
  profile: str = '',
) -> None:
  """Trains one stage from its newest checkpoint, and writes its weights."""
  settings = stage.settings(cfg)
  checkpoints = Checkpoints(
    workdir / 'checkpoints' / stage.name,
    cfg.train.keep_checkpoints,
    dataclasses.asdict(cfg),
    best=cfg.train.keep_best,
  )
  state = None
  with jax.set_mesh(mesh), checkpoints:
    for phase in phases.split(cfg, stage.name):
      program, state, frozen = _run_phase(
        stage, phase, workdir, mesh, profile, checkpoints, state
      )
    shipped = program.ship_fn(state.ema, frozen)
    if settings.lora.rank:  # before the file that marks the stage as finished
      _write_adapter(state, settings.lora, workdir / stage.file_name)
    _write(shipped, state, cfg, workdir / stage.file_name)


def _run_phase(
  stage: Stage,
  phase: phases.Phase,
  workdir: pathlib.Path,
  mesh: Mesh,
  profile: str,
  checkpoints: Checkpoints,
  state: TrainState | None,
) -> tuple[Program, TrainState, dict[str, Params]]:
  """Trains until the end of one phase.

  Args:
    state: the state after the phase before; None = from the newest checkpoint,
      or from the start.

  Returns:
    The program of the phase, the state, and the frozen networks by name.
  """
  planned.check_mesh(stage.name, phase.cfg, mesh)
  cfg, chosen = remat.resolve(stage.name, phase.cfg, mesh)
  if chosen:
    _print(f'{stage.name}: {chosen}')
  settings = stage.settings(cfg)
  program = stage.build(cfg, workdir)
  if settings.lora.rank:
    program = adapted(program, settings.lora)
  optimizer = program.optimizer_fn(settings)
  init = make_init(program.init_fn, optimizer, cfg.seed, program.ships)
  abstract = abstract_state(init, mesh)
  if state is None:
    state = checkpoints.restore(abstract)
  if state is None:
    state = jax.jit(init, out_shardings=shardings(abstract))()
    if program.start:
      loaded = {
        name: load_params(
          path, branch(state.params, name), may_lack=denoiser.FROM_ZERO
        )
        for name, path in program.start.items()
      }
      state = start_from(state, loaded, program.ships)
  frozen = {
    name: _load_frozen(network, mesh)
    for name, network in program.frozen.items()
  }
  step, steps = int(state.step), settings.steps
  if step >= steps:  # the checkpoint is of a later phase, or of the end
    return program, state, frozen
  with jax.set_mesh(None):  # operations are counted on whole arrays
    work = planned.work(stage.name, cfg, mesh)
  name = f'{stage.name}: {phase.name}' if phase.name else stage.name
  with (
    MetricWriter(workdir, stage.name, step, cfg.train.wandb_project) as writer,
    ProgressDisplay(name, step, steps, jax.process_index() == 0) as display,
  ):
    train_step = make_train_step(
      program.loss_fn,
      optimizer,
      settings,
      mesh,
      shardings(abstract),
      shardings(frozen),
      batch_sharding(mesh),
      program.ships,
    )
    state = loop.train(
      lambda state, batch: train_step(state, frozen, batch),
      state,
      program.batches_fn(int(state.films_consumed)),
      name=stage.name,
      steps=steps,
      cfg=cfg.train,
      batch_sharding=batch_sharding(mesh),
      checkpoints=checkpoints,
      writer=writer,
      display=display,
      work=work,
      skips=settings.on_spike == 'skip',
      profile=Profile(profile, workdir / 'profile' / stage.name),
      probe_fn=_probe(program, frozen),
      sample_fn=_sampler(program, frozen, workdir / 'samples' / stage.name),
    )
  return program, state, frozen


def _load_frozen(network: Frozen, mesh: Mesh) -> Params:
  """Loads a frozen network; each device reads only its own part."""
  shapes = jax.eval_shape(network.init_fn, jax.random.key(0))
  like = with_shardings(shapes, param_shardings(shapes, mesh))
  return load_params(network.path, like)


def _sampler(program: Program, frozen: dict[str, Params], folder: pathlib.Path):
  # Samples need all of a film, and a process reads only its own devices.
  if program.sample_fn is None or jax.process_count() > 1:
    return None
  return lambda state, step: program.sample_fn(
    program.ship_fn(state.ema, frozen), folder / f'{step:08d}.mp4'
  )


def _probe(program: Program, frozen: dict[str, Params]):
  # Probes need all of a film, and a process reads only its own devices.
  if program.probe_fn is None or jax.process_count() > 1:
    return None
  return lambda state: program.probe_fn(
    program.ship_fn(state.ema, frozen), frozen
  )


def _gathered(tree: Params, dtype: str) -> Params:
  """Fetches a tree of arrays to the host of the first process, in `dtype`.

  All processes must call this. The others hold one layer at a time, and get
  None for each leaf.
  """

  def whole(x: jax.Array) -> np.ndarray:
    return multihost_utils.process_allgather(x, tiled=True)

  def leaf(x: jax.Array) -> np.ndarray | None:
    x = x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x
    if jax.process_count() == 1:
      return np.asarray(x)
    # Matrices of layers are stacked; arrays of fewer dimensions are small.
    parts = [x] if x.ndim < 3 else (x[i] for i in range(len(x)))
    if jax.process_index():
      for part in parts:
        whole(part)
      return None
    rows = [whole(part) for part in parts]
    return rows[0] if x.ndim < 3 else np.stack(rows)

  return jax.tree.map(leaf, tree)


def _write_adapter(
  state: TrainState, lora: LoraConfig, weights: pathlib.Path
) -> None:
  """Writes the averaged adapter as a LoRA file beside the weights."""
  adapter = _gathered(state.ema, 'float32')
  if jax.process_index() == 0:
    path = weights.with_name(f'{weights.stem}_lora.safetensors')
    save_adapter(path, adapter, lora.alpha / lora.rank)


def _write(
  params: Params, state: TrainState, cfg: Config, path: pathlib.Path
) -> None:
  """Writes weights, with the config and the updates in the metadata."""
  params = _gathered(params, cfg.train.weights_dtype)
  if jax.process_index() == 0:
    metadata = {
      'config': json.dumps(dataclasses.asdict(cfg)),
      'stage': path.stem,
      'steps': str(int(state.step)),
      'films_consumed': str(int(state.films_consumed)),
      'seed': str(cfg.seed),
    }
    save_tree(path, params, metadata)


def _print(sentence: str) -> None:
  """Prints on the first process only."""
  if jax.process_index() == 0:
    print(sentence, flush=True)
