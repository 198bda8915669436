"""What a stage hands to the trainer, and what it builds that from.

Weights come from WORKDIR/NAME.safetensors or, where no stage of the run makes
them, from config.train.NAME_weights.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import optax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.sharding import batch_part
from cinejax.data import texts
from cinejax.data.pipeline import make_batches, make_endless_batches
from cinejax.data.sources import LatentFilms, casting_seeds
from cinejax.interop.texts import load_text
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig
from cinejax.models.text.select import Text
from cinejax.story.films import StoryFilms
from cinejax.story.world import check_size
from cinejax.training.config import StageConfig
from cinejax.training.optim import make_optimizer
from cinejax.training.samples import SampleFn
from cinejax.training.state import Params
from cinejax.training.steps import LossFn

InitFn = Callable[[jax.Array], Params]  # key -> params


@dataclasses.dataclass(frozen=True)
class Frozen:
  """A network that a loss is given and that no update touches."""

  path: str | pathlib.Path | None  # of its weights; None: only described
  init_fn: InitFn  # of which only shapes and types matter


@dataclasses.dataclass(frozen=True)
class Program:
  """What a stage hands to the trainer."""

  init_fn: InitFn
  loss_fn: LossFn
  # examples consumed -> this process's batches from there on; None: a program
  # that is only described, to be compiled or counted
  batches_fn: Callable[[int], Iterator[dict[str, Any]]] | None = None
  sample_fn: SampleFn | None = None  # (averaged params, path of an mp4)
  # (averaged params, frozen networks) -> figures of held-out films
  probe_fn: (
    Callable[[Params, Mapping[str, Params]], dict[str, float]] | None
  ) = None
  # weights files to start from: branch of the parameters -> path; '' = all of
  # them, None: only described. Branches that are not named start as init_fn
  # makes them.
  start: Mapping[str, str | pathlib.Path | None] = dataclasses.field(
    default_factory=dict
  )
  frozen: Mapping[str, Frozen] = dataclasses.field(default_factory=dict)
  # what of the parameters is averaged, sampled and written: a branch, '' = all
  ships: str = ''
  # (averaged params, frozen networks) -> what is sampled and written
  ship_fn: Callable[[Params, Mapping[str, Params]], Params] = (
    lambda average, frozen: average
  )
  optimizer_fn: Callable[[StageConfig], optax.GradientTransformation] = (
    make_optimizer
  )


def init_dit(cfg: DiTConfig) -> InitFn:
  """Program.init_fn of a DiT."""
  return functools.partial(denoiser.init_params, cfg)


def frozen_dit(cfg: DiTConfig) -> InitFn:
  """Frozen.init_fn of a DiT: in the types that every pass casts to."""

  def init_fn(key: jax.Array) -> Params:
    params = denoiser.init_params(cfg, key)
    types = denoiser.resting_types(cfg, params)
    return jax.tree.map(lambda x, dtype: x.astype(dtype), params, types)

  return init_fn


def started(path: str) -> dict[str, str]:
  """Program.start of a whole network; '' = from its init_fn."""
  return {'': path} if path else {}


# config.init.teacher or config.dmd.scores -> the stage that makes it
BASES = {'causal': 'base', 'bidirectional': 'base_bidirectional'}


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


def film_batches(
  cfg: Config, settings: StageConfig, films: LatentFilms, text: Text
) -> Callable[[int], Iterator[dict[str, Any]]]:
  """Program.batches_fn of a stage that reads latent films."""

  def batches(consumed: int) -> Iterator[dict[str, Any]]:
    index, count = batch_part()
    return make_batches(
      films,
      text.encode,
      chunks=cfg.data.chunks,
      frames_per_chunk=cfg.film.frames_per_chunk,
      batch=settings.batch,
      seed=cfg.seed,
      films_consumed=consumed,
      process_index=index,
      process_count=count,
    )

  return batches


def story_batches(
  cfg: Config, settings: StageConfig, text: Text
) -> Callable[[int], Iterator[dict[str, Any]]]:
  """Program.batches_fn of a stage that reads config.story.kinds."""
  check_size(cfg.film, 'give a config of that size, or config.data.films')
  if cfg.story.seed == cfg.eval.seed:
    raise UserError(
      f'config.story.seed is {cfg.story.seed}, as config.eval.seed, and no '
      'training may see its films; give another'
    )
  films = StoryFilms(
    kinds=cfg.story.kinds,
    seed=cfg.story.seed,
    chunks=cfg.data.chunks,
    film=cfg.film,
    stride=cfg.codec.temporal_stride,
    encode_text=text.encode,
  )

  def batches(consumed: int) -> Iterator[dict[str, Any]]:
    index, count = batch_part()
    return make_endless_batches(
      films,
      batch=settings.batch,
      films_consumed=consumed,
      process_index=index,
      process_count=count,
      workers=cfg.data.workers,
    )

  return batches


def captions(cfg: Config) -> Text:
  """Those encoded ahead (data_prep/texts.py), or else the encoder."""
  large = cfg.text.name != 'hashed' and not cfg.text.actions
  if large and texts.has_table(cfg.data.films):
    return texts.TextTable(cfg.data.films, cfg.text.words, cfg.text.features)
  return load_text(cfg.text)


def latent_films(cfg: Config) -> LatentFilms:
  """The films of config.data.films."""
  if not cfg.data.films:
    raise UserError(
      'config.data.films is empty; write films with `python -m data_prep.story '
      '--config=FILE --weights=CODEC --out=FILMS` and give '
      '--config.data.films=FILMS'
    )
  if cfg.eval.seed in casting_seeds(cfg.data.films):
    raise UserError(
      f'{cfg.data.films} holds films of config.eval.seed, {cfg.eval.seed}, '
      'which no training may see; write others, say with --seed=1'
    )
  return open_films(cfg, cfg.data.films)


def open_films(cfg: Config, folder: str | os.PathLike) -> LatentFilms:
  """The films in `folder`; UserError unless their frames are of cfg's size."""
  films = LatentFilms(folder)
  found = films[0].latents.shape[1:]
  if found != cfg.frame_shape:
    raise UserError(
      f'{folder} holds films whose latent frames are {_size(found)} (rows, '
      'columns, channels), and config.film and config.codec make them '
      f'{_size(cfg.frame_shape)}; give the config that wrote the films, or '
      'write others'
    )
  return films


def _size(shape: Sequence[int]) -> str:
  return 'x'.join(map(str, shape))
