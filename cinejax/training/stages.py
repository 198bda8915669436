"""The stages of a training run: what each consumes, makes, and trains.

A stage is done when the file that it makes is there, which is written whole
at its end; until then its checkpoints say how far it is. Weights come from
WORKDIR/NAME.safetensors or, where no stage of the run makes them, from
config.train.NAME_weights.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.data.pipeline import make_batches, make_clip_batches
from cinejax.data.sources import LatentFilms
from cinejax.interop.texts import load_text
from cinejax.interop.weights import load_codec
from cinejax.models import denoiser
from cinejax.models.codec.patch import Components, PatchCodec
from cinejax.models.codec.select import make_codec
from cinejax.models.text.select import Text
from cinejax.objectives.causal_ode import make_causal_ode_loss
from cinejax.objectives.consistency import make_consistency_loss
from cinejax.objectives.reconstruction import make_reconstruction_loss
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from cinejax.story.clips import StoryClips
from cinejax.training.config import StageConfig
from cinejax.training.samples import (
  SampleFn,
  make_codec_sampler,
  make_film_sampler,
)
from cinejax.training.state import Params
from cinejax.training.steps import LossFn, alone

_FITTED_CLIPS = 256  # that a codec's encoder is measured on


@dataclasses.dataclass(frozen=True)
class Program:
  """What a stage hands to the trainer."""

  init_fn: Callable[[jax.Array], Params]  # key -> params
  loss_fn: LossFn
  # examples consumed -> this process's batches from there on
  batches_fn: Callable[[int], Iterator[dict[str, Any]]]
  sample_fn: SampleFn | None = None  # (averaged params, path of an mp4)
  start: str = ''  # weights file to start from; '' = init_fn's
  # networks of this shape that the loss is given, name -> weights file
  frozen: dict[str, pathlib.Path] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Stage:
  """A row of STAGES."""

  name: str  # its settings are config.stage.NAME
  consumes: tuple[str, ...]  # stages whose weights it needs
  build: Callable[[Config, pathlib.Path], Program]

  @property
  def makes(self) -> str:
    """Its weights file in the workdir."""
    return f'{self.name}.safetensors'


def weights_path(cfg: Config, workdir: pathlib.Path, name: str) -> pathlib.Path:
  """Where the weights of stage `name` are; raises UserError if nowhere."""
  made, given = workdir / f'{name}.safetensors', ''
  if name not in cfg.train.stages:
    given = getattr(cfg.train, f'{name}_weights')
  path = pathlib.Path(given) if given else made
  if not path.exists():  # a codec may be a folder
    raise UserError(
      f'there are no {name} weights at {path}; add {name} to '
      f'config.train.stages or set config.train.{name}_weights'
    )
  return path


def find(name: str) -> Stage:
  """The declared stage of that name."""
  for stage in STAGES:
    if stage.name == name:
      return stage
  known = ', '.join(stage.name for stage in STAGES)
  raise UserError(
    f'config.train.stages names {name}; it must be some of {known}'
  )


def _build_codec(cfg: Config, workdir: pathlib.Path) -> Program:
  del workdir
  codec = make_codec(cfg.codec)
  if not isinstance(codec, PatchCodec):
    raise UserError(
      f'config.codec.name is {cfg.codec.name}, which comes trained; take codec '
      'out of config.train.stages and set config.train.codec_weights'
    )
  clips = StoryClips(
    cfg.story.seed,
    cfg.story.films,
    cfg.story.clip_frames,
    frames_per_chunk=cfg.film.frames_per_chunk,
    stride=cfg.codec.temporal_stride,
  )

  def batches(consumed: int) -> Iterator[dict[str, Any]]:
    return make_clip_batches(
      clips,
      batch=cfg.stage.codec.batch,
      seed=cfg.seed,
      clips_consumed=consumed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  @functools.cache
  def components() -> Components:
    sample = make_clip_batches(clips, batch=_FITTED_CLIPS, seed=cfg.seed)
    return codec.measure(next(sample)['video'])

  return Program(
    init_fn=lambda key: codec.fit(codec.init(key), components()),
    loss_fn=alone(make_reconstruction_loss(codec)),
    batches_fn=batches,
    sample_fn=make_codec_sampler(codec, clips[0], cfg.film.fps),
    start=cfg.train.codec_weights,  # a new decoder for the same latents
  )


def _film_batches(
  cfg: Config, settings: StageConfig, films: LatentFilms, text: Text
) -> Callable[[int], Iterator[dict[str, Any]]]:
  """Program.batches_fn of a stage that reads latent films."""

  def batches(consumed: int) -> Iterator[dict[str, Any]]:
    return make_batches(
      films,
      text.encode,
      chunks=cfg.data.chunks,
      frames_per_chunk=cfg.film.frames_per_chunk,
      batch=settings.batch,
      seed=cfg.seed,
      films_consumed=consumed,
      process_index=jax.process_index(),
      process_count=jax.process_count(),
    )

  return batches


def _latent_films(cfg: Config) -> LatentFilms:
  if not cfg.data.films:
    raise UserError(
      'config.data.films is empty; write films with `python -m data_prep.story '
      '--config=FILE --weights=CODEC --out=FILMS` and give '
      '--config.data.films=FILMS'
    )
  return LatentFilms(cfg.data.films)


def _build_base(cfg: Config, workdir: pathlib.Path) -> Program:
  codec_weights = weights_path(cfg, workdir, 'codec')
  films, text = _latent_films(cfg), load_text(cfg.text)
  codec = load_codec(cfg.codec, codec_weights)
  return Program(
    init_fn=lambda key: denoiser.init_params(cfg.dit, key),
    loss_fn=make_base_loss(cfg, text),
    batches_fn=_film_batches(cfg, cfg.stage.base, films, text),
    sample_fn=make_film_sampler(cfg, films[0], *codec),
    start=cfg.train.base_weights,
  )


def _build_init(cfg: Config, workdir: pathlib.Path) -> Program:
  base = weights_path(cfg, workdir, 'base')
  films, text = _latent_films(cfg), load_text(cfg.text)
  return Program(
    init_fn=lambda key: denoiser.init_params(cfg.dit, key),
    loss_fn=make_init_loss(cfg, text),
    batches_fn=_film_batches(cfg, cfg.stage.init, films, text),
    start=str(base),
    frozen={'teacher': base},
  )


def make_init_loss(cfg: Config, text: Text) -> LossFn:
  """What the stage init minimises."""
  shared = {
    'frames': cfg.film.frames_per_chunk,
    'shift': cfg.diffusion.shift,
    'grid': cfg.init.grid,
    'guidance': cfg.init.guidance,
    'negative_text_WD': text.encode([cfg.rollout.negative_prompt])[0],
  }
  film_fn = denoiser.make_film_fn(cfg.dit, cfg.memory)
  if cfg.init.method == 'ode':
    return make_causal_ode_loss(film_fn, **shared)
  return make_consistency_loss(film_fn, last_pair=cfg.init.last_pair, **shared)


def make_base_loss(cfg: Config, text: Text) -> LossFn:
  """What the base stage minimises."""
  loss_fn = make_teacher_forcing_loss(
    denoiser.make_film_fn(cfg.dit, cfg.memory),
    cfg.diffusion,
    frames=cfg.film.frames_per_chunk,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
    drop_text=cfg.stage.base.drop_text,
  )
  return alone(loss_fn)


STAGES = (
  Stage('codec', consumes=(), build=_build_codec),
  Stage('base', consumes=('codec',), build=_build_base),
  Stage('init', consumes=('base',), build=_build_init),
)
