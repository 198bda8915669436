"""The stages of a training run: what each consumes, makes, and trains.

A stage is done when the file that it makes is there, which is written whole
at its end; until then its checkpoints say how far it is.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.sharding import batch_part
from cinejax.data.pipeline import make_clip_batches
from cinejax.data.sources import LatentFilms
from cinejax.interop.weights import codec_files, load_codec
from cinejax.models import denoiser
from cinejax.models.codec.components import Components
from cinejax.models.codec.patch import PatchCodec
from cinejax.models.codec.select import make_codec
from cinejax.models.text.select import Text
from cinejax.objectives.reconstruction import make_reconstruction_loss
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from cinejax.story.clips import StoryClips
from cinejax.story.films import make_painter
from cinejax.training import distillation, initialisation
from cinejax.training.config import StageConfig
from cinejax.training.optim import make_optimizer
from cinejax.training.program import (
  BASES,
  Frozen,
  Program,
  captions,
  film_batches,
  init_dit,
  latent_films,
  started,
  story_batches,
  weights_path,
)
from cinejax.training.recall_probe import make_recall_probe
from cinejax.training.samples import (
  make_codec_sampler,
  make_film_sampler,
  make_whole_film_sampler,
)
from cinejax.training.state import Params
from cinejax.training.steps import alone

_FITTED_CLIPS = 256  # on which a codec's encoder and latents are measured


@dataclasses.dataclass(frozen=True)
class Stage:
  """A row of STAGES."""

  name: str  # its settings are config.stage.NAME
  consumes: Callable[[Config], tuple[str, ...]]  # stages whose weights it needs
  build: Callable[[Config, pathlib.Path], Program]
  given: str = ''  # key of config.train: weights it takes besides, if any
  films: Callable[[Config], LatentFilms] | None = latent_films

  def paints(self, cfg: Config) -> bool:
    """Whether its films are made as they are asked for."""
    phases = getattr(cfg.stage, self.name).phases
    changed = (key for _, _, changes in phases for key, _ in changes)
    return self.name == 'base' and (
      bool(cfg.story.kinds) or 'story.kinds' in changed
    )

  @property
  def makes(self) -> str:
    """Its weights file in the workdir."""
    return f'{self.name}.safetensors'


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
  codec = _patch_codec(cfg)
  clips = StoryClips(
    cfg.story.seed,
    cfg.story.films,
    cfg.story.clip_frames,
    frames_per_chunk=cfg.film.frames_per_chunk,
    stride=cfg.codec.temporal_stride,
  )

  def batches(consumed: int) -> Iterator[dict[str, Any]]:
    index, count = batch_part()
    return make_clip_batches(
      clips,
      batch=cfg.stage.codec.batch,
      seed=cfg.seed,
      clips_consumed=consumed,
      process_index=index,
      process_count=count,
    )

  @functools.cache
  def sample() -> np.ndarray:
    batches = make_clip_batches(clips, batch=_FITTED_CLIPS, seed=cfg.seed)
    return next(batches)['video']

  @functools.cache
  def components() -> Components:
    return codec.measure(sample())

  def ship(average: Params, frozen: Mapping[str, Params]) -> Params:
    del frozen
    if cfg.codec.keep_latents:
      return average  # of the scale that existing latents have
    return codec.standardise(average, sample())

  return dataclasses.replace(
    _describe_codec(cfg),
    init_fn=lambda key: codec.fit(codec.init(key), components()),
    batches_fn=batches,
    sample_fn=make_codec_sampler(codec, clips[0], cfg.film.fps),
    ship_fn=ship,
    start=started(cfg.train.codec_weights),
  )


def _patch_codec(cfg: Config) -> PatchCodec:
  codec = make_codec(cfg.codec)
  if not isinstance(codec, PatchCodec):
    raise UserError(
      f'config.codec.name is {cfg.codec.name}, which comes trained; take codec '
      'out of config.train.stages and set config.train.codec_weights'
    )
  return codec


def _build_base(cfg: Config, workdir: pathlib.Path) -> Program:
  codec_weights = weights_path(cfg, workdir, 'codec')
  start = started(cfg.train.base_weights)
  if cfg.story.kinds:
    return _build_story_base(cfg, codec_weights, start)
  films, text = latent_films(cfg), captions(cfg)
  codec = load_codec(cfg.codec, codec_weights)
  return dataclasses.replace(
    describe(cfg, 'base', text),
    batches_fn=film_batches(cfg, cfg.stage.base, films, text),
    sample_fn=make_film_sampler(cfg, text, films[0], *codec),
    start=start,
  )


def _build_story_base(
  cfg: Config, codec_weights: pathlib.Path, start: dict[str, str]
) -> Program:
  """The base on config.story.kinds: films are painted inside the update."""
  text = captions(cfg)
  program = describe(cfg, 'base', text)
  codec = make_codec(cfg.codec)
  paint = make_painter(codec, cfg.story.appearance_weight)

  probe = make_recall_probe(cfg, text, codec)

  def loss_fn(params, batch, key, given):
    return program.loss_fn(params, paint(given['codec'], batch), key, given)

  (file,) = codec_files(cfg.codec.name, codec_weights)
  return dataclasses.replace(
    program,
    loss_fn=loss_fn,
    batches_fn=story_batches(cfg, cfg.stage.base, text),
    probe_fn=lambda params, frozen: probe(params, frozen['codec']),
    frozen={'codec': Frozen(file, codec.init)},
    start=start,
  )


def _build_base_bidirectional(cfg: Config, workdir: pathlib.Path) -> Program:
  codec_weights = weights_path(cfg, workdir, 'codec')
  films, text = latent_films(cfg), captions(cfg)
  codec = load_codec(cfg.codec, codec_weights)
  film_fn = denoiser.make_bidirectional_film_fn(cfg.dit)
  return dataclasses.replace(
    describe(cfg, 'base_bidirectional', text),
    batches_fn=film_batches(cfg, cfg.stage.base_bidirectional, films, text),
    sample_fn=make_whole_film_sampler(cfg, text, film_fn, films[0], *codec),
    start=started(cfg.train.base_bidirectional_weights),
  )


def describe(cfg: Config, name: str, text: Text) -> Program:
  """The stage `name` without its data and weights."""
  if name == 'codec':
    return _describe_codec(cfg)
  if name in ('base', 'base_bidirectional'):
    return _describe_base(cfg, name, text)
  if name == 'init':
    return initialisation.describe(cfg, text)
  return distillation.describe(cfg, name, text)


def _describe_codec(cfg: Config) -> Program:
  codec = _patch_codec(cfg)
  loss_fn = alone(make_reconstruction_loss(codec, cfg.codec.noise))
  program = Program(codec.init, loss_fn, start={'': None})
  if not cfg.codec.keep_latents:
    return program
  return dataclasses.replace(program, optimizer_fn=_decoder_alone)


def _decoder_alone(cfg: StageConfig) -> optax.GradientTransformation:
  """Updates a codec's decoder only; nothing else decays either."""

  def labels(params: Params) -> dict[str, str]:
    return {name: 'on' if name == 'decoder' else 'off' for name in params}

  return optax.multi_transform(
    {'on': make_optimizer(cfg), 'off': optax.set_to_zero()}, labels
  )


def _describe_base(cfg: Config, name: str, text: Text) -> Program:
  film_fn, diffusion = denoiser.make_film_fn(cfg.dit, cfg.memory), cfg.diffusion
  if name == 'base_bidirectional':
    film_fn = denoiser.make_bidirectional_film_fn(cfg.dit)
    diffusion = dataclasses.replace(diffusion, time_per='film')
  loss_fn = make_teacher_forcing_loss(
    film_fn,
    diffusion,
    frames=cfg.film.frames_per_chunk,
    negative_text_WD=text.encode([cfg.rollout.negative_prompt])[0],
    drop_text=getattr(cfg.stage, name).drop_text,
  )
  return Program(init_dit(cfg.dit), alone(loss_fn), start={'': None})


def check(todo: Sequence[Stage], cfg: Config, workdir: pathlib.Path) -> None:
  """Raises UserError if a stage lacks what none before it makes.

  So that what is missing is said before anything is trained.
  """
  made: set[str] = set()
  for stage in todo:
    for name in stage.consumes(cfg):
      if name not in made:
        weights_path(cfg, workdir, name)
    given = stage.given and getattr(cfg.train, stage.given)
    if given and not pathlib.Path(given).exists():
      raise UserError(
        f'config.train.{stage.given} is {given}, which is not there'
      )
    if stage.films is not None and not stage.paints(cfg):
      stage.films(cfg)
    made.add(stage.name)


def _of_nothing(cfg: Config) -> tuple[str, ...]:
  _patch_codec(cfg)  # others come trained
  return ()


def _of_codec(cfg: Config) -> tuple[str, ...]:
  del cfg
  return ('codec',)


def _of_score(student: str) -> Callable[[Config], tuple[str, ...]]:
  return lambda cfg: (BASES[cfg.dmd.scores], student)


STAGES = (
  Stage('codec', _of_nothing, _build_codec, 'codec_weights', films=None),
  Stage('base', _of_codec, _build_base, 'base_weights'),
  Stage(
    'base_bidirectional',
    _of_codec,
    _build_base_bidirectional,
    'base_bidirectional_weights',
  ),
  Stage(
    'init',
    initialisation.consumed,
    initialisation.build_init,
    films=initialisation.read_films,
  ),
  Stage('dmd', _of_score('init'), distillation.build_dmd, 'real_weights'),
  Stage('tune', _of_score('dmd'), distillation.build_tune, 'real_weights'),
)
