"""The stage `init`: a first few-step student of a teacher.

The stage `dmd` then distils it further, from its own films. The student starts
from the base. The teacher of consistency distillation is the base. The teacher
of ODE distillation is the base or, for comparison, the bidirectional base; its
trajectories are integrated during training, or read from
config.init.trajectories, in which case the teacher itself is not needed.
"""

import dataclasses
import pathlib

import jax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilms, TrajectoryFilm, read_settings
from cinejax.models import denoiser
from cinejax.models.text.select import Text
from cinejax.objectives.causal_ode import (
  STUDENT_STEPS,
  IntegrateFn,
  make_causal_ode_loss,
  make_integrate,
)
from cinejax.objectives.consistency import make_consistency_loss
from cinejax.training.base_stage import BASES, CAUSAL, make_film_fn
from cinejax.training.films import (
  captions,
  check_films,
  codec_of_films,
  film_batches,
  open_films,
  with_films,
)
from cinejax.training.program import (
  Frozen,
  Program,
  frozen_dit,
  init_dit,
  weights_path,
)
from cinejax.training.stage import Shapes, Stage, film_example
from cinejax.training.steps import LossFn


def check_data(cfg: Config) -> None:
  """Raises UserError if the films or trajectories of `cfg` are not there."""
  if cfg.init.trajectories:
    read_trajectories(cfg)
  else:
    check_films(cfg)


def _consumes(cfg: Config) -> tuple[str, ...]:
  names = [CAUSAL.name]
  if not cfg.init.trajectories:
    names += [BASES[cfg.init.teacher].name, *codec_of_films(cfg)]
  return tuple(dict.fromkeys(names))


def _build(cfg: Config, workdir: pathlib.Path) -> Program:
  text, settings = captions(cfg), INIT.settings(cfg)
  program = _describe(cfg, text)
  teacher = BASES[cfg.init.teacher].name
  program = dataclasses.replace(
    program,
    start={'': weights_path(cfg, workdir, CAUSAL.name)},
    frozen={
      name: dataclasses.replace(
        network, path=weights_path(cfg, workdir, teacher)
      )
      for name, network in program.frozen.items()
    },
  )
  if not cfg.init.trajectories:
    return with_films(program, cfg, settings, text, workdir)
  batches_fn = film_batches(cfg, settings, read_trajectories(cfg), text)
  return dataclasses.replace(program, batches_fn=batches_fn)


def _describe(cfg: Config, text: Text) -> Program:
  teacher = Frozen(None, frozen_dit(cfg.dit))
  return Program(
    init_fn=init_dit(cfg.dit),
    loss_fn=_make_loss(cfg, text),
    start={'': None},
    frozen={} if cfg.init.trajectories else {'teacher': teacher},
  )


def teacher_trajectories(cfg: Config, text: Text) -> IntegrateFn:
  """Returns the function that integrates config.init.teacher over films."""
  return make_integrate(
    make_film_fn(cfg, cfg.init.teacher),
    frames=cfg.film.frames_per_chunk,
    shift=cfg.diffusion.shift,
    grid=cfg.init.grid,
    guidance=cfg.init.guidance,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
    causal=cfg.init.teacher == 'causal',
  )


def trajectory_settings(cfg: Config) -> dict[str, object]:
  """The settings on which trajectories depend, by dotted key.

  Trajectories that were made with other settings do not fit `cfg`.
  """
  settings = {
    'init': ('teacher', 'grid', 'guidance'),
    'diffusion': ('shift',),
    'film': ('frames_per_chunk',),
    'rollout': ('negative_prompt',),
  }
  if cfg.init.teacher == 'causal':
    settings['memory'] = (
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
    for section, names in settings.items()
    for name in names
  }


def _make_loss(cfg: Config, text: Text) -> LossFn:
  """The loss of config.init.method.

  It reads a frozen network `teacher`, unless trajectories are stored.
  """
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
    per_chunk=cfg.diffusion.time_per == 'chunk',
    last_pair=cfg.init.last_pair,
    guidance=cfg.init.guidance,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
  )


def read_trajectories(cfg: Config) -> LatentFilms:
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


def _example(cfg: Config) -> Shapes:
  """A film, with its trajectory where trajectories are stored."""
  shapes = film_example(cfg)
  if cfg.init.trajectories:
    latents = shapes['latents']
    frames, *frame = latents.shape
    points = (frames, STUDENT_STEPS, *frame)
    shapes['end'] = latents
    shapes['points'] = jax.ShapeDtypeStruct(points, latents.dtype)
  return shapes


INIT = Stage(
  'init',
  consumes=_consumes,
  describe=_describe,
  build=_build,
  check_data=check_data,
  example=_example,
)
