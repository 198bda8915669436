"""The stages `base` and `base_bidirectional`: many-step denoisers of films.

The causal base is what students and rollouts start from. The bidirectional one
is a teacher, or a score, of the kind that published methods use. Other stages
name a base by its kind, `causal` or `bidirectional`.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.data.features import FeaturedFilms
from cinejax.diffusion.config import DiffusionConfig
from cinejax.interop.weights import load_codec
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.models.config import DiTConfig
from cinejax.models.frame_values import make_frame_values_film_fn
from cinejax.models.route_scores import make_route_scores_film_fn
from cinejax.models.text.select import Text
from cinejax.objectives.alignment import init_heads, make_aligned_loss
from cinejax.objectives.retelling import make_retelling_loss
from cinejax.objectives.returns import make_returns_loss
from cinejax.objectives.teacher_forcing import (
  make_pass,
  make_teacher_forcing_loss,
)
from cinejax.story.films import LABELS
from cinejax.training.films import (
  captions,
  check_films,
  latent_films,
  with_films,
)
from cinejax.training.program import (
  Frozen,
  Program,
  frozen_dit,
  init_dit,
  weights_path,
)
from cinejax.training.recall_probe import make_recall_probe
from cinejax.training.samples import (
  make_film_sampler,
  make_whole_film_sampler,
)
from cinejax.training.stage import Shapes, Stage, film_example
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
  arguments = {
    'diffusion': diffusion_config(cfg, kind),
    'frames': cfg.film.frames_per_chunk,
    'negative_text_WD': text.encode([cfg.rollout.negative_prompt])[0],
    'drop_text': BASES[kind].settings(cfg).drop_text,
  }
  if _target(cfg, kind) == 'told':
    return _describe_retold(cfg, arguments)
  if _target(cfg, kind):
    return _describe_aligned(cfg, arguments)
  loss_fn = make_teacher_forcing_loss(make_film_fn(cfg, kind), **arguments)
  return Program(init_dit(cfg.dit), without_networks(loss_fn), start={'': None})


def _describe_aligned(cfg: Config, arguments: dict[str, Any]) -> Program:
  """A causal base with config.alignment; its heads, if any, do not ship."""
  aligned, init_network = cfg.alignment, init_dit(cfg.dit)
  network = cfg.dit, cfg.memory, aligned.layers
  if aligned.target == 'returns':
    labels = {'name': LABELS['name']}
    pass_fn = make_pass(make_route_scores_film_fn(*network), **arguments)
    loss_fn = make_returns_loss(pass_fn, aligned, list(LABELS).index('name'))
  else:
    labels = LABELS
    pass_fn = make_pass(make_frame_values_film_fn(*network), **arguments)
    loss_fn = make_aligned_loss(pass_fn, aligned, labels)

  def init_fn(key):
    for_heads = jax.random.fold_in(key, 1)
    heads = init_heads(aligned, labels, cfg.dit.features, for_heads)
    return {'dit': init_network(key), 'heads': heads}

  return Program(init_fn, loss_fn, start={'dit': None}, ships='dit')


def _describe_retold(cfg: Config, arguments: dict[str, Any]) -> Program:
  """A causal base that learns actions from one that reads words."""
  reader = dataclasses.replace(cfg.dit, actions=0, camera=(0.0, 0.0))
  film_fns = make_film_fn(cfg, 'causal'), make_film_fn(cfg, 'causal', reader)
  return Program(
    init_dit(cfg.dit),
    make_retelling_loss(*film_fns, **arguments),
    start={'': None},
    frozen={'teller': Frozen(None, frozen_dit(reader))},
  )


def _target(cfg: Config, kind: str) -> str:
  """What the loss reads beside films: '', told, labels, returns, features."""
  if kind == 'causal' and cfg.train.teller_weights:
    return 'told'
  aligned = kind == 'causal' and cfg.alignment.weight
  return cfg.alignment.target if aligned else ''


def _example(cfg: Config) -> Shapes:
  """A film in a batch of the causal base, with what alignment reads."""
  frames = cfg.data.chunks * cfg.film.frames_per_chunk
  labels = {'labels': jax.ShapeDtypeStruct((frames, len(LABELS)), jnp.int32)}
  target = {
    '': {},
    'told': {
      'told': jax.ShapeDtypeStruct(
        (cfg.data.chunks, cfg.text.words, cfg.text.features), jnp.float32
      )
    },
    'labels': labels,
    'returns': labels,
    'features': {
      'features': jax.ShapeDtypeStruct(
        (frames, cfg.alignment.features), jnp.float32
      )
    },
  }
  return film_example(cfg) | target[_target(cfg, 'causal')]


def _check_data(cfg: Config) -> None:
  """Raises UserError if films, or what alignment reads of them, lack."""
  target = _target(cfg, 'causal')
  if target in ('labels', 'returns') and not cfg.cast_kinds:
    raise UserError(
      f'config.alignment.target is {target}, which only films of '
      'config.story.kinds have; name kinds, or set it to features'
    )
  if target == 'features' and cfg.cast_kinds:
    raise UserError(
      'config.alignment.target is features, which only films of '
      'config.data.films have; set it to labels for config.story.kinds'
    )
  if target == 'told':
    _check_told(cfg)
  check_films(cfg)
  if target == 'features':
    FeaturedFilms(latent_films(cfg), cfg.alignment.features)


def _check_told(cfg: Config) -> None:
  """Raises UserError if films have no two forms of prompts."""
  if not (cfg.cast_kinds and cfg.text.actions):
    raise UserError(
      'config.train.teller_weights is set, from which only steered films of '
      'config.story.kinds can be learned; name kinds and config.text.actions, '
      'as configs/story.py:steered does, or set it to an empty string'
    )
  if cfg.alignment.weight:
    raise UserError(
      'config.train.teller_weights takes the place of config.alignment; set '
      'config.alignment.weight to 0'
    )


def _build(cfg: Config, workdir: pathlib.Path, kind: str) -> Program:
  stage, text = BASES[kind], captions(cfg)
  program, target = stage.describe(cfg, text), _target(cfg, kind)
  weights = getattr(cfg.train, stage.weights_key)
  start = {program.ships: weights} if weights else {}
  if target == 'told':
    teller = dataclasses.replace(
      program.frozen['teller'], path=cfg.train.teller_weights
    )
    program = dataclasses.replace(program, frozen={'teller': teller})
  program = with_films(
    dataclasses.replace(program, start=start),
    cfg,
    stage.settings(cfg),
    text,
    workdir,
    target,
  )
  if cfg.cast_kinds and kind == 'causal':
    probe = make_recall_probe(cfg, text, make_codec(cfg.codec))
    return dataclasses.replace(
      program, probe_fn=lambda params, frozen: probe(params, frozen['codec'])
    )
  if cfg.cast_kinds:
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


CAUSAL = _stage(
  'base',
  'causal',
  copies=lambda cfg: cfg.diffusion.copies,
  check_data=_check_data,
  example=_example,
)
BIDIRECTIONAL = _stage('base_bidirectional', 'bidirectional')
BASES = {'causal': CAUSAL, 'bidirectional': BIDIRECTIONAL}
