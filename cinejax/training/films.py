"""The films that a stage trains on.

They are a data set, config.data.films, or the endless films of
config.story.kinds, which are painted and encoded inside the update.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.sharding import batch_part
from cinejax.data import texts
from cinejax.data.features import FeaturedFilms
from cinejax.data.pipeline import make_batches, make_endless_batches
from cinejax.data.sources import LatentFilm, LatentFilms, casting_seeds
from cinejax.interop.texts import load_text
from cinejax.interop.weights import codec_files
from cinejax.models.codec.select import make_codec
from cinejax.models.text.select import Text
from cinejax.story.films import StoryFilms, make_painter
from cinejax.story.world import check_chunk, check_size
from cinejax.training.config import StageConfig
from cinejax.training.program import Frozen, Program, weights_path


def check_films(cfg: Config) -> None:
  """Raises UserError if the films that `cfg` names are not there."""
  if cfg.cast_kinds:
    check_story(cfg)
  else:
    latent_films(cfg)


def codec_of_films(cfg: Config) -> tuple[str, ...]:
  """The stages whose weights the films need: the codec, where they are painted.

  Films of a data set are encoded.
  """
  return ('codec',) if cfg.cast_kinds else ()


def with_films(
  program: Program,
  cfg: Config,
  settings: StageConfig,
  text: Text,
  workdir: pathlib.Path,
  target: str = '',
) -> Program:
  """`program` with the films of `cfg`, a data set or endless.

  Args:
    program: of a stage, without films.
    cfg: of the run.
    settings: of the stage.
    text: encodes prompts.
    workdir: the folder with weights.
    target: what the loss also reads of a film, `labels` or `told` of endless
      ones or `features` of a data set; '' = nothing.

  Raises UserError if they are not there.
  """
  if not cfg.cast_kinds:
    films = latent_films(cfg)
    if target:
      films = FeaturedFilms(films, cfg.alignment.features)
    batches_fn = film_batches(cfg, settings, films, text)
    return dataclasses.replace(program, batches_fn=batches_fn)
  codec = make_codec(cfg.codec)
  paint = make_painter(codec, cfg.story.appearance_weight)

  def loss_fn(params, batch, key, given):
    return program.loss_fn(params, paint(given['codec'], batch), key, given)

  (file,) = codec_files(cfg.codec.name, weights_path(cfg, workdir, 'codec'))
  return dataclasses.replace(
    program,
    loss_fn=loss_fn,
    batches_fn=story_batches(cfg, settings, text, target),
    frozen={**program.frozen, 'codec': Frozen(file, codec.init)},
  )


def film_batches(
  cfg: Config, settings: StageConfig, films: Sequence[LatentFilm], text: Text
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
  cfg: Config, settings: StageConfig, text: Text, target: str = ''
) -> Callable[[int], Iterator[dict[str, Any]]]:
  """Returns Program.batches_fn of a stage that reads config.story.kinds.

  Batches also have what `target` names, as in `with_films`.
  """
  check_story(cfg)
  films = StoryFilms(
    kinds=cfg.cast_kinds,
    seed=cfg.story.seed,
    chunks=cfg.data.chunks,
    film=cfg.film,
    stride=cfg.codec.temporal_stride,
    encode_text=text.encode,
    labels=target in ('labels', 'returns'),
    keep_frames=cfg.story.shots_keep == 'frames',
    told=target == 'told',
    steered=bool(cfg.text.actions),
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
  if cfg.story.shots_keep == 'frames':
    if 'pictures' in dict(cfg.cast_kinds):
      raise UserError(
        'config.story.kinds has pictures, which are one chunk of any length; '
        'leave them out, or set config.story.shots_keep to chunks'
      )
    check_chunk(cfg.film.frames_per_chunk)


def captions(cfg: Config) -> Text:
  """The captions of the films, encoded by data_prep/texts.py, or the encoder.

  An encoder that is small, or that reads actions, is used as it is.
  """
  large = cfg.text.name != 'hashed' and not cfg.text.steered
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
