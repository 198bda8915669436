"""The program of a stage, and the data and weights that it is built from.

Weights are read from WORKDIR/NAME.safetensors or, if no stage of the run trains
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
  """A network that the loss reads and that no update changes.

  Attributes:
    path: its weights file; None in a program without weights.
    init_fn: gives its shapes and types; its values are not used.
  """

  path: str | pathlib.Path | None
  init_fn: InitFn


@dataclasses.dataclass(frozen=True)
class Program:
  """All that the trainer needs of a stage.

  Attributes:
    init_fn: key -> parameters: a nested dict, whose top-level entries are
      called branches.
    loss_fn: the loss (training/steps.py).
    batches_fn: examples consumed -> the batches of this process that follow;
      None in a program without data, which can only be compiled or counted.
    sample_fn: (shipped params, path of an mp4) -> None; None = no samples.
    probe_fn: (shipped params, frozen params by name) -> metrics of held-out
      films; None = no such metrics.
    start: the weights files of the branches that start from weights; the name
      '' stands for all parameters. A path is None in a program without weights.
      Other branches start as init_fn makes them.
    frozen: networks that the loss reads, by name.
    ships: the branch that ships: it is averaged, sampled and written to the
      weights file of the stage; '' = all parameters.
    ship_fn: (average, frozen params by name) -> the shipped params.
    optimizer_fn: settings of the stage -> its optimizer.
  """

  init_fn: InitFn
  loss_fn: LossFn
  batches_fn: Callable[[int], Iterator[dict[str, Any]]] | None = None
  sample_fn: SampleFn | None = None
  probe_fn: (
    Callable[[Params, Mapping[str, Params]], dict[str, float]] | None
  ) = None
  start: Mapping[str, str | pathlib.Path | None] = dataclasses.field(
    default_factory=dict
  )
  frozen: Mapping[str, Frozen] = dataclasses.field(default_factory=dict)
  ships: str = ''
  ship_fn: Callable[[Params, Mapping[str, Params]], Params] = (
    lambda average, frozen: average
  )
  optimizer_fn: Callable[[StageConfig], optax.GradientTransformation] = (
    make_optimizer
  )


def init_dit(cfg: DiTConfig) -> InitFn:
  """Returns Program.init_fn of a DiT."""
  return functools.partial(denoiser.init_params, cfg)


def frozen_dit(cfg: DiTConfig) -> InitFn:
  """Returns Frozen.init_fn of a DiT, in the types that every pass casts to."""

  def init_fn(key: jax.Array) -> Params:
    params = denoiser.init_params(cfg, key)
    types = denoiser.resting_types(cfg, params)
    return jax.tree.map(lambda x, dtype: x.astype(dtype), params, types)

  return init_fn


def start_whole(path: str) -> dict[str, str]:
  """Program.start of all parameters from one file; '' = as init_fn makes."""
  return {'': path} if path else {}


def weights_path(cfg: Config, workdir: pathlib.Path, name: str) -> pathlib.Path:
  """The weights of stage `name`: a file, or for some codecs a folder.

  Raises UserError if it does not exist.
  """
  path = workdir / f'{name}.safetensors'
  if name not in cfg.train.stages:
    path = pathlib.Path(getattr(cfg.train, f'{name}_weights') or path)
  if not path.exists():
    raise UserError(
      f'there are no {name} weights at {path}; add {name} to '
      f'config.train.stages or set config.train.{name}_weights'
    )
  return path


def film_batches(
  cfg: Config, settings: StageConfig, films: LatentFilms, text: Text
) -> Callable[[int], Iterator[dict[str, Any]]]:
  """Returns Program.batches_fn of a stage that reads latent films."""

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
  """Returns Program.batches_fn of a stage that reads config.story.kinds."""
  check_story(cfg)
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


def check_story(cfg: Config) -> None:
  """Raises UserError if config.story.kinds cannot be trained on."""
  check_size(cfg.film, 'give a config of that size, or config.data.films')
  if cfg.story.seed == cfg.eval.seed:
    raise UserError(
      f'config.story.seed is {cfg.story.seed}, as config.eval.seed, and no '
      'training may see its films; give another'
    )


def captions(cfg: Config) -> Text:
  """The captions of the films, encoded by data_prep/texts.py, or the encoder.

  An encoder that is small, or that reads actions, is used as it is.
  """
  large = cfg.text.name != 'hashed' and not cfg.text.actions
  if large and texts.has_table(cfg.data.films):
    return texts.TextTable(cfg.data.films, cfg.text.words, cfg.text.features)
  return load_text(cfg.text)


def latent_films(cfg: Config) -> LatentFilms:
  """The films of config.data.films.

  Raises UserError if there are none, or some are reserved for evaluation.
  """
  if not cfg.data.films:
    raise UserError(
      'config.data.films is empty; write films with `python -m data_prep.story '
      '--config=FILE --weights=CODEC --out=FILMS` and give '
      '--config.data.films=FILMS'
    )
  if cfg.eval.seed in casting_seeds(cfg.data.films):
    raise UserError(
      f'{cfg.data.films} holds films of config.eval.seed, {cfg.eval.seed}, '
      'which no training may see; write others, such as with --seed=1'
    )
  return open_films(cfg, cfg.data.films)


def open_films(cfg: Config, folder: str | os.PathLike) -> LatentFilms:
  """The films in `folder`.

  Raises UserError if their latent frames do not have the size of `cfg`.
  """
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
