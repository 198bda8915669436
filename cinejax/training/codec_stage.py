"""The stage `codec`: trains the patch codec on clips of the story world."""

import dataclasses
import functools
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.sharding import batch_part
from cinejax.data.pipeline import make_clip_batches
from cinejax.models.codec.components import Components
from cinejax.models.codec.patch import PatchCodec
from cinejax.models.codec.select import make_codec
from cinejax.models.text.select import Text
from cinejax.objectives.reconstruction import make_reconstruction_loss
from cinejax.story.clips import StoryClips
from cinejax.training.config import StageConfig
from cinejax.training.optim import make_optimizer
from cinejax.training.program import Program, start_whole
from cinejax.training.samples import make_codec_sampler
from cinejax.training.stage import Shapes, Stage
from cinejax.training.state import Params
from cinejax.training.steps import without_networks

_MEASURED_CLIPS = 256  # clips on which the encoder and latents are measured


def _consumes(cfg: Config) -> tuple[str, ...]:
  _patch_codec(cfg)
  return ()


def _describe(cfg: Config, text: Text | None = None) -> Program:
  del text
  codec = _patch_codec(cfg)
  loss_fn = without_networks(make_reconstruction_loss(codec, cfg.codec.noise))
  program = Program(codec.init, loss_fn, start={'': None})
  if not cfg.codec.keep_latents:
    return program
  return dataclasses.replace(program, optimizer_fn=_make_decoder_optimizer)


def _build(cfg: Config, workdir: pathlib.Path) -> Program:
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
    batches = make_clip_batches(clips, batch=_MEASURED_CLIPS, seed=cfg.seed)
    return next(batches)['video']

  @functools.cache
  def components() -> Components:
    return codec.measure(sample())

  def ship(average: Params, frozen: Mapping[str, Params]) -> Params:
    del frozen
    if cfg.codec.keep_latents:
      return average  # existing latents keep their scale
    return codec.standardise(average, sample())

  return dataclasses.replace(
    _describe(cfg),
    init_fn=lambda key: codec.fit(codec.init(key), components()),
    batches_fn=batches,
    sample_fn=make_codec_sampler(codec, clips[0], cfg.film.fps),
    ship_fn=ship,
    start=start_whole(cfg.train.codec_weights),
  )


def _make_decoder_optimizer(cfg: StageConfig) -> optax.GradientTransformation:
  """Updates only the decoder of a codec; other weights do not decay either."""

  def labels(params: Params) -> dict[str, str]:
    return {name: 'on' if name == 'decoder' else 'off' for name in params}

  return optax.multi_transform(
    {'on': make_optimizer(cfg), 'off': optax.set_to_zero()}, labels
  )


def _patch_codec(cfg: Config) -> PatchCodec:
  """The codec of `cfg`; UserError if it is one that comes trained."""
  codec = make_codec(cfg.codec)
  if not isinstance(codec, PatchCodec):
    raise UserError(
      f'config.codec.name is {cfg.codec.name}, which comes trained; take codec '
      'out of config.train.stages and set config.train.codec_weights'
    )
  return codec


def _clip_example(cfg: Config) -> Shapes:
  video = (cfg.story.clip_frames, cfg.film.height, cfg.film.width, 3)
  return {'video': jax.ShapeDtypeStruct(video, jnp.uint8)}


CODEC = Stage(
  'codec',
  consumes=_consumes,
  describe=_describe,
  build=_build,
  weights_key='codec_weights',
  check_data=lambda cfg: None,  # clips are rendered while it trains
  example=_clip_example,
  example_tokens=lambda cfg: 0,
)
