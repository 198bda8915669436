"""The stages `dmd` and `tune`: distil a student from its own films.

`dmd` generates films as long as those of the data set, `tune` long films, of
which the scores read a window. Both train a dict of networks at once:
`student`, which ships, `fake`, the score of the student's films, and `head`,
the discriminator, if config.dmd.gan_weight is not 0. The fake score is updated
in every update, the student in one of config.dmd.every.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.directing.rollout_programs import make_step
from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig
from cinejax.models.discriminator import make_discriminator
from cinejax.models.text.select import Text
from cinejax.objectives import self_forcing
from cinejax.objectives.adversarial import Adversary
from cinejax.objectives.dmd import make_dmd_loss
from cinejax.rollout.config import STUDENT_STEPS, RolloutConfig
from cinejax.training.base_stage import (
  BASES,
  diffusion_config,
  make_film_fn,
)
from cinejax.training.config import StageConfig
from cinejax.training.films import captions, codec_of_films, with_films
from cinejax.training.optim import make_optimizer
from cinejax.training.program import (
  Frozen,
  InitFn,
  Program,
  frozen_dit,
  weights_path,
)
from cinejax.training.stage import Repeats, Stage


def _build_dmd(cfg: Config, workdir: pathlib.Path) -> Program:
  return _build(cfg, workdir, DMD, student='init')


def _build_tune(cfg: Config, workdir: pathlib.Path) -> Program:
  if cfg.data.chunks < cfg.dmd.window:
    raise UserError(
      f'config.data.chunks is {cfg.data.chunks}; the films that stage tune '
      f'draws windows from need at least config.dmd.window = {cfg.dmd.window}'
    )
  return _build(cfg, workdir, TUNE, student=DMD.name)


def _build(
  cfg: Config, workdir: pathlib.Path, stage: Stage, student: str
) -> Program:
  """The program of `stage`, whose student starts from the stage `student`."""
  score = weights_path(cfg, workdir, BASES[cfg.dmd.scores].name)
  real = pathlib.Path(cfg.train.real_weights or score)
  text = captions(cfg)
  program = stage.describe(cfg, text)
  program = dataclasses.replace(
    program,
    start={'student': weights_path(cfg, workdir, student), 'fake': score},
    frozen={'real': dataclasses.replace(program.frozen['real'], path=real)},
  )
  return with_films(program, cfg, stage.settings(cfg), text, workdir)


def _describe_dmd(cfg: Config, text: Text) -> Program:
  return _describe(cfg, text, self_forcing.make_student_fn)


def _describe_tune(cfg: Config, text: Text) -> Program:
  make_window_fn = functools.partial(
    self_forcing.make_window_fn,
    window=cfg.dmd.window,
    context=cfg.dmd.context,
  )
  return _describe(cfg, text, make_window_fn)


def _describe(
  cfg: Config, text: Text, make_student_fn: Callable[..., Any]
) -> Program:
  """A program of distillation; `make_student_fn` rolls the student out."""
  negative_text_WD = text.encode([cfg.rollout.negative_prompt])[0]
  init_head, adversary = _adversary(cfg)

  def init_fn(key):
    networks = {
      'student': denoiser.init_params(cfg.dit, key),
      'fake': denoiser.init_params(cfg.dit, key),
    }
    return networks | ({'head': init_head(key)} if adversary else {})

  return Program(
    init_fn=init_fn,
    loss_fn=make_dmd_loss(
      make_student_fn(_step_maker(cfg, negative_text_WD), cfg.dit),
      make_film_fn(cfg, cfg.dmd.scores),
      make_film_fn(cfg, cfg.dmd.scores, real_dit(cfg)),
      # A score is evaluated at times as in its training.
      diffusion_config(cfg, cfg.dmd.scores),
      guidance=cfg.dmd.guidance,
      negative_text_WD=negative_text_WD,
      every=cfg.dmd.every,
      adversary=adversary,
    ),
    start={'student': None, 'fake': None},
    frozen={'real': Frozen(None, frozen_dit(real_dit(cfg)))},
    ships='student',
    optimizer_fn=lambda stage: _optimizer(cfg, stage),
  )


def _student_rollout(cfg: Config) -> RolloutConfig:
  if cfg.rollout.steps not in STUDENT_STEPS:
    raise UserError(
      f'config.rollout.steps is {cfg.rollout.steps}; a student is distilled '
      'in 1, 2 or 4 steps, which --config=FILE:four, :two and :one set'
    )
  return dataclasses.replace(
    cfg.rollout,
    sampler='few_step',
    guidance=1.0,
    commit=cfg.rollout.unfused_commit,  # a packed pass cannot be run again
  )


def real_dit(cfg: Config) -> DiTConfig:
  """The sizes of the real score: where config.dmd has 0, the student's."""
  sizes = {
    name: getattr(cfg.dmd, f'real_{name}')
    for name in ('layers', 'heads', 'head_features', 'mlp_features')
  }
  changed = {name: size for name, size in sizes.items() if size}
  return dataclasses.replace(cfg.dit, **changed)


def _step_maker(cfg: Config, negative_text_WD):
  student_cfg = dataclasses.replace(
    cfg, memory=_film_memory(cfg), rollout=_student_rollout(cfg)
  )
  return functools.partial(make_step, student_cfg, negative_text_WD)


def _film_memory(cfg: Config) -> MemoryConfig:
  """config.memory with no more slots than a film of the data set fills."""
  memory = cfg.memory
  least = memory.window_frames + memory.routed_frames
  least += cfg.film.frames_per_chunk
  frames = max(least, cfg.data.chunks * cfg.film.frames_per_chunk)
  return dataclasses.replace(
    memory, bank_frames=min(memory.held_frames, frames), archive='none'
  )


def _adversary(cfg: Config) -> tuple[InitFn | None, Adversary | None]:
  if not cfg.dmd.gan_weight:
    return None, None
  init_head, logit_fn = make_discriminator(
    len(cfg.dmd.gan_layers), cfg.dit.features, cfg.dmd.gan_features
  )
  memory = cfg.memory if cfg.dmd.scores == 'causal' else None
  values_fn = denoiser.make_values_fn(cfg.dit, memory, cfg.dmd.gan_layers)
  return init_head, Adversary(
    values_fn=values_fn,
    logit_fn=logit_fn,
    weight=cfg.dmd.gan_weight,
    r1=cfg.dmd.gan_r1,
    r2=cfg.dmd.gan_r2,
  )


def _optimizer(
  cfg: Config, settings: StageConfig
) -> optax.GradientTransformation:
  """An optimizer for each network; the student's counts only its own updates.

  Whether an update is the student's is decided by the training step, as in the
  loss: a count in the optimizer would fall behind where an update is skipped.
  """
  turns = -(-settings.steps // cfg.dmd.every)
  student = optax.transforms.conditionally_mask(
    make_optimizer(dataclasses.replace(settings, steps=turns)),
    should_transform_fn=lambda calls, step: step % cfg.dmd.every == 0,
    forward_extra_args=True,
  )
  fake = make_optimizer(
    dataclasses.replace(settings, learning_rate=cfg.dmd.fake_learning_rate)
  )
  return optax.partition(
    {'student': student, 'fake': fake, 'head': fake}, _network_of
  )


def _network_of(params: dict[str, Any]) -> dict[str, Any]:
  """The name of the network to which each leaf belongs."""
  return {
    name: jax.tree.map(lambda _, name=name: name, tree)
    for name, tree in params.items()
  }


def _repeats(cfg: Config, trips: float = 1.0) -> Repeats:
  return Repeats(often=1 / cfg.dmd.every, trips=trips)


def _savings(cfg: Config) -> tuple[str, ...]:
  if real_dit(cfg) == cfg.dit:
    return ()
  return (
    '--config.dmd.real_layers=0 --config.dmd.real_heads=0 '
    "--config.dmd.real_mlp_features=0: a real score of the student's size",
  )


DMD = Stage(
  'dmd',
  consumes=lambda cfg: (
    BASES[cfg.dmd.scores].name,
    'init',
    *codec_of_films(cfg),
  ),
  describe=_describe_dmd,
  build=_build_dmd,
  weights_key='real_weights',
  # A chunk of the student's film ends after 1 to J of its J steps.
  repeats=lambda cfg: _repeats(cfg, trips=(1 + cfg.rollout.steps) / 2),
  savings=_savings,
)
TUNE = Stage(
  'tune',
  consumes=lambda cfg: (
    BASES[cfg.dmd.scores].name,
    DMD.name,
    *codec_of_films(cfg),
  ),
  describe=_describe_tune,
  build=_build_tune,
  weights_key='real_weights',
  # The chunks before the window count as one, whatever their number.
  repeats=_repeats,
  length_varies=True,
  savings=_savings,
)
