"""The stages `base` and `base_bidirectional`: many-step denoisers of films.

The causal base is what students and rollouts start from. The bidirectional one
is a teacher, or a score, of the kind that published methods use. Other stages
name a base by its kind, `causal` or `bidirectional`.
"""

import dataclasses
import functools
import pathlib

from cinejax.config import Config
from cinejax.diffusion.config import DiffusionConfig
from cinejax.interop.weights import codec_files, load_codec
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.models.config import DiTConfig
from cinejax.models.text.select import Text
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from cinejax.story.films import make_painter
from cinejax.training.program import (
  Frozen,
  Program,
  captions,
  check_story,
  film_batches,
  init_dit,
  latent_films,
  start_whole,
  story_batches,
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


def _build_causal(cfg: Config, workdir: pathlib.Path) -> Program:
  codec_weights = weights_path(cfg, workdir, 'codec')
  if cfg.story.kinds:
    return _build_painted(cfg, codec_weights)
  films, text = latent_films(cfg), captions(cfg)
  codec = load_codec(cfg.codec, codec_weights)
  return dataclasses.replace(
    CAUSAL.describe(cfg, text),
    batches_fn=film_batches(cfg, CAUSAL.settings(cfg), films, text),
    sample_fn=make_film_sampler(cfg, text, films[0], *codec),
    start=start_whole(cfg.train.base_weights),
  )


def _build_painted(cfg: Config, codec_weights: pathlib.Path) -> Program:
  """A base on config.story.kinds: films are painted inside of the update."""
  text, codec = captions(cfg), make_codec(cfg.codec)
  program = CAUSAL.describe(cfg, text)
  paint = make_painter(codec, cfg.story.appearance_weight)
  probe = make_recall_probe(cfg, text, codec)

  def loss_fn(params, batch, key, given):
    return program.loss_fn(params, paint(given['codec'], batch), key, given)

  (file,) = codec_files(cfg.codec.name, codec_weights)
  return dataclasses.replace(
    program,
    loss_fn=loss_fn,
    batches_fn=story_batches(cfg, CAUSAL.settings(cfg), text),
    probe_fn=lambda params, frozen: probe(params, frozen['codec']),
    frozen={'codec': Frozen(file, codec.init)},
    start=start_whole(cfg.train.base_weights),
  )


def _build_bidirectional(cfg: Config, workdir: pathlib.Path) -> Program:
  codec_weights = weights_path(cfg, workdir, 'codec')
  films, text = latent_films(cfg), captions(cfg)
  codec = load_codec(cfg.codec, codec_weights)
  film_fn = make_film_fn(cfg, 'bidirectional')
  return dataclasses.replace(
    BIDIRECTIONAL.describe(cfg, text),
    batches_fn=film_batches(cfg, BIDIRECTIONAL.settings(cfg), films, text),
    sample_fn=make_whole_film_sampler(cfg, text, film_fn, films[0], *codec),
    start=start_whole(cfg.train.base_bidirectional_weights),
  )


CAUSAL = Stage(
  'base',
  consumes=lambda cfg: ('codec',),
  describe=functools.partial(_describe, kind='causal'),
  build=_build_causal,
  weights_key='base_weights',
  copies=lambda cfg: cfg.diffusion.copies,
  check_data=lambda cfg: (check_story if cfg.story.kinds else latent_films)(
    cfg
  ),
)
BIDIRECTIONAL = Stage(
  'base_bidirectional',
  consumes=lambda cfg: ('codec',),
  describe=functools.partial(_describe, kind='bidirectional'),
  build=_build_bidirectional,
  weights_key='base_bidirectional_weights',
)
BASES = {'causal': CAUSAL, 'bidirectional': BIDIRECTIONAL}
