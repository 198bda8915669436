"""Stages that distil a student from its own films: `dmd`, and `tune` on long
ones.

Both train a dict of networks at once: `student`, which ships, `fake`, the
score of its films, and `head` where config.dmd.gan_weight is not 0. The fake
score's optimizer runs at every update, the student's at its turns alone.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.diffusion.config import DiffusionConfig
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
from cinejax.training.config import StageConfig
from cinejax.training.optim import make_optimizer
from cinejax.training.program import (
  BASES,
  Frozen,
  InitFn,
  Program,
  captions,
  film_batches,
  frozen_dit,
  latent_films,
  weights_path,
)


def build_dmd(cfg: Config, workdir: pathlib.Path) -> Program:
  """A few-step student of the films of data, from the stage `init`."""
  return _build(cfg, workdir, 'dmd', 'init')


def build_tune(cfg: Config, workdir: pathlib.Path) -> Program:
  """The same student on windows of films of config.data.chunks chunks."""

  if cfg.data.chunks < cfg.dmd.window:
    raise UserError(
      f'config.data.chunks is {cfg.data.chunks}; the films that stage tune '
      f'draws windows from need at least config.dmd.window = {cfg.dmd.window}'
    )
  return _build(cfg, workdir, 'tune', 'dmd')


def _build(
  cfg: Config, workdir: pathlib.Path, name: str, student: str
) -> Program:
  score = weights_path(cfg, workdir, BASES[cfg.dmd.scores])
  real = pathlib.Path(cfg.train.real_weights or score)
  films, text = latent_films(cfg), captions(cfg)
  described = describe(cfg, name, text)
  return dataclasses.replace(
    described,
    batches_fn=film_batches(cfg, getattr(cfg.stage, name), films, text),
    start={'student': weights_path(cfg, workdir, student), 'fake': score},
    frozen={'real': dataclasses.replace(described.frozen['real'], path=real)},
  )


def describe(cfg: Config, name: str, text: Text) -> Program:
  """The stage `dmd` or `tune` without its data and weights."""
  make_student_fn = self_forcing.make_student_fn
  if name == 'tune':
    make_student_fn = functools.partial(
      self_forcing.make_window_fn,
      window=cfg.dmd.window,
      context=cfg.dmd.context,
    )
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
      _score_fn(cfg, cfg.dit),
      _score_fn(cfg, real_dit(cfg)),
      _score_diffusion(cfg),
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
  """Sizes of the real score: the student's, where config.dmd says nothing."""
  sizes = {
    name: getattr(cfg.dmd, f'real_{name}')
    for name in ('layers', 'heads', 'head_features', 'mlp_features')
  }
  told = {name: size for name, size in sizes.items() if size}
  return dataclasses.replace(cfg.dit, **told)


def _step_maker(cfg: Config, negative_text_WD):
  rolled = dataclasses.replace(
    cfg, memory=_film_memory(cfg), rollout=_student_rollout(cfg)
  )
  return functools.partial(make_step, rolled, negative_text_WD)


def _film_memory(cfg: Config) -> MemoryConfig:
  """With slots for the frames of a film of data: more would stay empty."""
  memory = cfg.memory
  least = memory.window_frames + memory.routed_frames
  least += cfg.film.frames_per_chunk
  frames = max(least, cfg.data.chunks * cfg.film.frames_per_chunk)
  return dataclasses.replace(
    memory, bank_frames=min(memory.bank_frames, frames)
  )


def _score_fn(cfg: Config, dit: DiTConfig) -> denoiser.FilmFn:
  if cfg.dmd.scores == 'causal':
    return denoiser.make_film_fn(dit, cfg.memory)
  return denoiser.make_bidirectional_film_fn(dit)


def _score_diffusion(cfg: Config) -> DiffusionConfig:
  """How a score's times are drawn: as they were when it was trained."""
  if cfg.dmd.scores == 'causal':
    return cfg.diffusion
  return dataclasses.replace(cfg.diffusion, time_per='film')


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
  """One for each network; the student's counts its own updates alone.

  Turns go by the training step, as in the loss: a count of its own would fall
  behind where an update is skipped.
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
  """The network that each leaf is of."""
  return {
    name: jax.tree.map(lambda _, name=name: name, tree)
    for name, tree in params.items()
  }
