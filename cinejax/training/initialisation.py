"""The stage `init`: a first few-step student of a teacher, before it is
distilled from its own films.

The teacher of consistency distillation is the base. That of ODE distillation
is the base or, for comparison, the bidirectional base; its trajectories are
integrated on the way, or read from config.init.trajectories, in which case the
teacher itself is not needed. Students start from the base.
"""

import dataclasses
import pathlib

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilms, TrajectoryFilm, read_settings
from cinejax.models import denoiser
from cinejax.models.text.select import Text
from cinejax.objectives.causal_ode import (
  IntegrateFn,
  make_causal_ode_loss,
  make_integrate,
)
from cinejax.objectives.consistency import make_consistency_loss
from cinejax.training.program import (
  BASES,
  Frozen,
  Program,
  captions,
  film_batches,
  frozen_dit,
  init_dit,
  latent_films,
  open_films,
  weights_path,
)
from cinejax.training.steps import LossFn


def consumed(cfg: Config) -> tuple[str, ...]:
  """Stages whose weights `init` reads: it starts as the causal base."""
  if cfg.init.trajectories:
    return ('base',)
  return tuple({'base': None, BASES[cfg.init.teacher]: None})


def read_films(cfg: Config) -> LatentFilms:
  """Trajectories, if config.init names some, or else films."""
  return _trajectories(cfg) if cfg.init.trajectories else latent_films(cfg)


def build_init(cfg: Config, workdir: pathlib.Path) -> Program:
  text, films = captions(cfg), read_films(cfg)
  described = describe(cfg, text)
  return dataclasses.replace(
    described,
    batches_fn=film_batches(cfg, cfg.stage.init, films, text),
    start={'': weights_path(cfg, workdir, 'base')},
    frozen={
      name: dataclasses.replace(
        network, path=weights_path(cfg, workdir, BASES[cfg.init.teacher])
      )
      for name, network in described.frozen.items()
    },
  )


def describe(cfg: Config, text: Text) -> Program:
  """The stage without its data and weights."""
  teacher = Frozen(None, frozen_dit(cfg.dit))
  return Program(
    init_fn=init_dit(cfg.dit),
    loss_fn=make_init_loss(cfg, text),
    start={'': None},
    frozen={} if cfg.init.trajectories else {'teacher': teacher},
  )


def teacher_fn(cfg: Config) -> denoiser.FilmFn:
  """The film_fn of config.init.teacher."""
  if cfg.init.teacher == 'bidirectional':
    return denoiser.make_bidirectional_film_fn(cfg.dit)
  return denoiser.make_film_fn(cfg.dit, cfg.memory)


def teacher_trajectories(cfg: Config, text: Text) -> IntegrateFn:
  """How config.init.teacher is integrated."""
  return make_integrate(
    teacher_fn(cfg),
    frames=cfg.film.frames_per_chunk,
    shift=cfg.diffusion.shift,
    grid=cfg.init.grid,
    guidance=cfg.init.guidance,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
    causal=cfg.init.teacher == 'causal',
  )


def trajectory_settings(cfg: Config) -> dict[str, object]:
  """What trajectories must have been made with to serve `cfg`."""
  kept = {
    'init': ('teacher', 'grid', 'guidance'),
    'diffusion': ('shift',),
    'film': ('frames_per_chunk',),
    'rollout': ('negative_prompt',),
  }
  if cfg.init.teacher == 'causal':
    kept['memory'] = (
      'policy',
      'window_frames',
      'routed_frames',
      'training',
      'cfg_routing',
      'scope',
      'route_layer',
    )
  return {
    f'{section}.{name}': getattr(getattr(cfg, section), name)
    for section, names in kept.items()
    for name in names
  }


def make_init_loss(cfg: Config, text: Text) -> LossFn:
  """What the stage minimises, given `teacher` unless what it did is stored."""
  film_fn = denoiser.make_film_fn(cfg.dit, cfg.memory)
  if cfg.init.method == 'ode':
    integrate = teacher_trajectories(cfg, text)
    return make_causal_ode_loss(
      film_fn,
      None if cfg.init.trajectories else integrate,
      frames=cfg.film.frames_per_chunk,
      shift=cfg.diffusion.shift,
    )
  return make_consistency_loss(
    film_fn,
    frames=cfg.film.frames_per_chunk,
    shift=cfg.diffusion.shift,
    grid=cfg.init.grid,
    last_pair=cfg.init.last_pair,
    guidance=cfg.init.guidance,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
  )


def _trajectories(cfg: Config) -> LatentFilms:
  folder = pathlib.Path(cfg.init.trajectories)
  films = open_films(cfg, folder)
  if not isinstance(films[0], TrajectoryFilm):
    raise UserError(
      f'config.init.trajectories is {folder}, which holds films without '
      'trajectories; write some with python -m data_prep.trajectories'
    )
  found = read_settings(folder)
  for name, value in trajectory_settings(cfg).items():
    if found.get(name) != value:
      raise UserError(
        f'config.{name} is {value}, but the trajectories in {folder} were made '
        f'with {found.get(name)}; set it so, or write others'
      )
  return films
