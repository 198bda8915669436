"""The stages `base` and `base_bidirectional`: many-step denoisers of films.

The causal base is what students and rollouts start from. The bidirectional one
is a teacher, or a score, of the kind that published methods use. Other stages
name a base by its kind, `causal` or `bidirectional`.
"""

import dataclasses
import functools
import pathlib
from typing import Any

from cinejax.config import Config
from cinejax.diffusion.config import DiffusionConfig
from cinejax.interop.weights import load_codec
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.models.config import DiTConfig
from cinejax.models.text.select import Text
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from cinejax.training.films import (
  captions,
  latent_films,
  with_films,
)
from cinejax.training.program import (
  Program,
  init_dit,
  start_whole,
  weights_path,
)
from cinejax.training.recall_probe import make_recall_probe
from cinejax.training.samples import (
  make_film_sampler,
  make_whole_film_sampler,
)
from cinejax.training.stage import Stage
from cinejax.training.steps import without_networks


def make_film_fn(
  cfg: Config, kind: str, dit: DiTConfig | None = None
) -> denoiser.FilmFn:
  """The pass of a base of that kind over whole films.

  Args:
    cfg: of the run.
    kind: `causal` or `bidirectional`.
    dit: the sizes of the network, where they are not those of `cfg`.
  """
  dit = dit or cfg.dit
  if kind == 'causal':
    return denoiser.make_film_fn(dit, cfg.memory)
  return denoiser.make_bidirectional_film_fn(dit)


def diffusion_config(cfg: Config, kind: str) -> DiffusionConfig:
  """How times are drawn for a base of that kind, `causal` or `bidirectional`.

  All frames of a film have one time where each sees all others.
  """
  if kind == 'causal':
    return cfg.diffusion
  return dataclasses.replace(cfg.diffusion, time_per='film', copies=1)


def _describe(cfg: Config, text: Text, kind: str) -> Program:
  settings = BASES[kind].settings(cfg)
  loss_fn = make_teacher_forcing_loss(
    make_film_fn(cfg, kind),
    diffusion_config(cfg, kind),
    frames=cfg.film.frames_per_chunk,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
    drop_text=settings.drop_text,
  )
  return Program(init_dit(cfg.dit), without_networks(loss_fn), start={'': None})


def _build(cfg: Config, workdir: pathlib.Path, kind: str) -> Program:
  stage, text = BASES[kind], captions(cfg)
  start = start_whole(getattr(cfg.train, stage.weights_key))
  program = dataclasses.replace(stage.describe(cfg, text), start=start)
  program = with_films(program, cfg, stage.settings(cfg), text, workdir)
  if cfg.story.kinds and kind == 'causal':
    probe = make_recall_probe(cfg, text, make_codec(cfg.codec))
    return dataclasses.replace(
      program, probe_fn=lambda params, frozen: probe(params, frozen['codec'])
    )
  if cfg.story.kinds:
    return program
  film = latent_films(cfg)[0]
  codec = load_codec(cfg.codec, weights_path(cfg, workdir, 'codec'))
  if kind == 'causal':
    sample_fn = make_film_sampler(cfg, text, film, *codec)
  else:
    film_fn = make_film_fn(cfg, kind)
    sample_fn = make_whole_film_sampler(cfg, text, film_fn, film, *codec)
  return dataclasses.replace(program, sample_fn=sample_fn)


def _stage(name: str, kind: str, **fields: Any) -> Stage:
  return Stage(
    name,
    consumes=lambda cfg: ('codec',),
    describe=functools.partial(_describe, kind=kind),
    build=functools.partial(_build, kind=kind),
    weights_key=f'{name}_weights',
    **fields,
  )


CAUSAL = _stage('base', 'causal', copies=lambda cfg: cfg.diffusion.copies)
BIDIRECTIONAL = _stage('base_bidirectional', 'bidirectional')
BASES = {'causal': CAUSAL, 'bidirectional': BIDIRECTIONAL}
