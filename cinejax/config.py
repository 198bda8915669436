"""The door where ml_collections.ConfigDict becomes frozen dataclasses.

Below this file nothing reads a ConfigDict. An unknown key is an error that
names the nearest known one; values are checked across sections here.
"""

import dataclasses
import difflib
import math
import re
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from ml_collections import ConfigDict

from cinejax.core.config import MeshConfig
from cinejax.core.errors import UserError
from cinejax.data.config import DataConfig, StoryConfig
from cinejax.diffusion.config import DiffusionConfig
from cinejax.evaluation.config import EvalConfig
from cinejax.film.config import MOST_CHUNKS, FilmConfig
from cinejax.memory.config import POLICIES, MemoryConfig
from cinejax.models.config import CodecConfig, DiTConfig, TextConfig
from cinejax.objectives.config import DmdConfig, InitConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.serving.config import ServingConfig
from cinejax.training.config import Stages, TrainConfig


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything a command needs to know; see configs/base.py for meanings."""

  name: str
  seed: int
  film: FilmConfig
  codec: CodecConfig
  text: TextConfig
  dit: DiTConfig
  memory: MemoryConfig
  diffusion: DiffusionConfig
  rollout: RolloutConfig
  data: DataConfig
  story: StoryConfig
  init: InitConfig
  dmd: DmdConfig
  train: TrainConfig
  stage: Stages
  mesh: MeshConfig
  eval: EvalConfig
  serving: ServingConfig

  @property
  def frame_shape(self) -> tuple[int, int, int]:
    """Rows, columns and channels of a latent frame."""
    stride = self.codec.spatial_stride
    rows, columns = self.film.height // stride, self.film.width // stride
    return rows, columns, self.codec.channels


def resolve(config: ConfigDict) -> Config:
  """Freezes `config` and checks it; raises UserError with one sentence."""
  cfg = _build(Config, config, 'config')
  check(cfg)
  return cfg


def unknown_key(key: str, known: typing.Iterable[str]) -> UserError:
  """The error for `key`, naming the nearest of `known`."""
  near = difflib.get_close_matches(key, list(known), n=1, cutoff=0.0)
  hint = f'; did you mean {near[0]}?' if near else ''
  return UserError(f'there is no key {key}{hint}')


def _build(kind: type, values: Mapping[str, Any], path: str) -> Any:
  fields = {field.name: field.type for field in dataclasses.fields(kind)}
  for key in values:
    if key not in fields:
      raise unknown_key(f'{path}.{key}', [f'{path}.{name}' for name in fields])
  missing = [name for name in fields if name not in values]
  if missing:
    raise UserError(
      f'{path} lacks {", ".join(missing)}; build configs on configs/base.py'
    )
  kinds = typing.get_type_hints(kind)
  return kind(
    **{
      name: _build(kinds[name], values[name], f'{path}.{name}')
      if dataclasses.is_dataclass(kinds[name])
      else values[name]
      for name in fields
    }
  )


_FLOATS = ('float32', 'bfloat16')


def _one_of(path: str, value: Any, choices: typing.Iterable[Any]) -> None:
  if value not in choices:
    listed = ', '.join(str(choice) for choice in choices)
    raise UserError(f'config.{path} is {value}; it must be one of {listed}')


# Which numbers may be 0, and which are shares of 1; others are more than 0.
_MAY_BE_ZERO = re.compile(
  r'(|story\.|eval\.)seed|codec\.(tile(_overlap)?|head_features|noise)|dit\.actions'
  r'|memory\.(routed_frames|route_layer)|(rollout|dmd)\.first_steps'
  r'|(rollout|init|dmd)\.guidance|dmd\.(real_\w+|gan_(weight|r1|r2))'
  r'|train\.(sample_every_steps|keep_best)|eval\.penalty_frames'
  r'|stage\.\w+\.(adam_learning_rate|warmup_steps|weight_decay|spike_norm'
  r'|lora\.rank)'
)
_SHARE = re.compile(r'stage\.\w+\.(ema|beta1|beta2|drop_text)')
_CHECKED_ELSEWHERE = re.compile(r'mesh\.\w+')  # core/sharding.py: -1 = the rest


def _check_numbers(cfg: Config) -> None:
  for path, value in _numbers(cfg):
    if not math.isfinite(value):
      raise UserError(f'config.{path} is {value}; it must be finite')
    if _SHARE.fullmatch(path):
      if not 0 <= value < 1:
        raise UserError(
          f'config.{path} is {value}; it must be at least 0 and less than 1'
        )
    elif _MAY_BE_ZERO.fullmatch(path):
      if value < 0:
        raise UserError(f'config.{path} is {value}; it must not be negative')
    elif not (_CHECKED_ELSEWHERE.fullmatch(path) or value > 0):
      raise UserError(f'config.{path} is {value}; it must be more than 0')


def _numbers(section: Any, path: str = '') -> Iterator[tuple[str, float]]:
  for field in dataclasses.fields(section):
    value = getattr(section, field.name)
    if dataclasses.is_dataclass(value):
      yield from _numbers(value, f'{path}{field.name}.')
    elif isinstance(value, int | float) and not isinstance(value, bool):
      yield path + field.name, value


def check(cfg: Config) -> None:
  """Raises UserError, one sentence, for what does not go together."""
  _check_numbers(cfg)
  codecs = ('patch', 'taef2', 'wan_vae', 'taehv')
  _one_of('codec.name', cfg.codec.name, codecs)
  _one_of('codec.encoder', cfg.codec.encoder, ('linear', 'conv'))
  _one_of('codec.compute_dtype', cfg.codec.compute_dtype, _FLOATS)
  _one_of('text.name', cfg.text.name, ('hashed', 'umt5', 'transformers'))
  _one_of('dit.compute_dtype', cfg.dit.compute_dtype, _FLOATS)
  _one_of('dit.remat', cfg.dit.remat, ('none', 'attention', 'dots', 'full'))
  _one_of(
    'dit.attention', cfg.dit.attention, ('auto', 'xla', 'cudnn', 'splash')
  )
  _one_of('memory.policy', cfg.memory.policy, POLICIES)
  _one_of('memory.evict', cfg.memory.evict, ('oldest', 'redundant', 'unused'))
  _one_of('memory.scope', cfg.memory.scope, ('layer', 'shared'))
  _one_of('memory.reroute', cfg.memory.reroute, ('step', 'chunk'))
  _one_of('memory.cfg_routing', cfg.memory.cfg_routing, ('conditional', 'own'))
  _one_of('memory.dtype', cfg.memory.dtype, ('compute', 'int8'))
  _one_of('memory.training', cfg.memory.training, ('routed', 'full'))
  _one_of('diffusion.time_per', cfg.diffusion.time_per, ('chunk', 'film'))
  samplers = ('euler', 'unipc', 'few_step')
  _one_of('rollout.sampler', cfg.rollout.sampler, samplers)
  _one_of('rollout.commit', cfg.rollout.commit, ('separate', 'fused', 'reuse'))
  _one_of('init.method', cfg.init.method, ('ode', 'cd'))
  _one_of('init.teacher', cfg.init.teacher, ('causal', 'bidirectional'))
  _one_of('dmd.scores', cfg.dmd.scores, ('causal', 'bidirectional'))
  _one_of('dmd.steps', cfg.dmd.steps, (1, 2, 4))
  _one_of('dmd.first_steps', cfg.dmd.first_steps, (0, 1, 2, 4))
  _one_of('train.weights_dtype', cfg.train.weights_dtype, _FLOATS)
  _one_of('eval.kind', cfg.eval.kind, ('eval', 'long', 'strict', 'minutes'))
  _one_of('eval.matching', cfg.eval.matching, ('greedy', 'optimal'))
  _check_memory(cfg)
  _check_rollout(cfg)
  _check_tokens(cfg)
  _check_stages(cfg)
  _check_students(cfg)
  if cfg.serving.film_chunks > MOST_CHUNKS:
    raise UserError(
      f'config.serving.film_chunks is {cfg.serving.film_chunks}; it must be at '
      f'most {MOST_CHUNKS}'
    )
  if cfg.codec.tile and cfg.codec.tile <= cfg.codec.tile_overlap:
    raise UserError(
      f'config.codec.tile is {cfg.codec.tile}; it must be more than '
      f'config.codec.tile_overlap = {cfg.codec.tile_overlap}, or 0 for none'
    )
  if not len(cfg.text.actions) == cfg.dit.actions <= cfg.text.features:
    raise UserError(
      f'config.text.actions names {len(cfg.text.actions)} actions and '
      f'config.dit.actions is {cfg.dit.actions}; they must agree, and be at '
      f'most config.text.features = {cfg.text.features}'
    )


def _check_students(cfg: Config) -> None:
  if cfg.init.grid < 4 or cfg.init.grid % 4:
    raise UserError(
      f'config.init.grid is {cfg.init.grid}; it must be a multiple of 4, so '
      "that it passes the student's four times"
    )
  bidirectional = cfg.init.teacher == 'bidirectional'
  if cfg.init.method == 'cd' and (bidirectional or cfg.init.trajectories):
    raise UserError(
      'config.init.method is cd, whose teacher is the base, without '
      'trajectories; config.init.teacher and config.init.trajectories are '
      'those of ode'
    )
  if not 1 <= cfg.dmd.context < cfg.dmd.window:
    raise UserError(
      f'config.dmd.context is {cfg.dmd.context}; it must be at least 1 and '
      f'leave something of config.dmd.window = {cfg.dmd.window}'
    )
  layers = cfg.dmd.gan_layers
  known = layers and 0 <= min(layers) and max(layers) < cfg.dit.layers
  if cfg.dmd.gan_weight and not known:
    raise UserError(
      f'config.dmd.gan_layers is {layers}; it must name layers, which count '
      f'from 0, and config.dit.layers is {cfg.dit.layers}'
    )


def _check_stages(cfg: Config) -> None:
  for field in dataclasses.fields(cfg.stage):
    path, stage = f'stage.{field.name}', getattr(cfg.stage, field.name)
    _one_of(f'{path}.moments_dtype', stage.moments_dtype, _FLOATS)
    _one_of(f'{path}.on_spike', stage.on_spike, ('stop', 'skip'))
    _one_of(f'{path}.optimizer', stage.optimizer, ('adamw', 'muon'))
    _one_of(f'{path}.schedule', stage.schedule, ('constant', 'cosine'))
    if stage.batch % stage.accumulate:
      raise UserError(
        f'config.{path}.accumulate is {stage.accumulate}; it must divide the '
        f'batch of {stage.batch}'
      )


def _check_memory(cfg: Config) -> None:
  frames, window = cfg.film.frames_per_chunk, cfg.memory.window_frames
  if window < frames or window % frames:
    raise UserError(
      f'config.memory.window_frames is {window}; it must be a multiple of '
      f'config.film.frames_per_chunk = {frames}'
    )
  layer, layers = cfg.memory.route_layer, cfg.dit.layers
  if cfg.memory.scope == 'shared' and not 0 <= layer < layers:
    raise UserError(
      f'config.memory.route_layer is {layer}; layers count from 0 and '
      f'config.dit.layers is {layers}'
    )
  if cfg.memory.reencode and cfg.rollout.commit != 'separate':
    raise UserError(
      'config.memory.reencode runs the window again before each chunk; it '
      'needs config.rollout.commit=separate'
    )
  need = window + cfg.memory.routed_frames + frames
  if cfg.memory.bank_frames < need:
    raise UserError(
      f'config.memory.bank_frames is {cfg.memory.bank_frames}; window, routed '
      f'and own frames need at least {need}'
    )


def _check_rollout(cfg: Config) -> None:
  if not 1 <= cfg.rollout.steps <= 100:
    raise UserError(
      f'config.rollout.steps is {cfg.rollout.steps}; it must be 1 to 100'
    )
  if cfg.rollout.sampler == 'few_step' and cfg.rollout.steps not in (1, 2, 4):
    raise UserError(
      f'config.rollout.steps is {cfg.rollout.steps}; a few-step sampler takes '
      '1, 2 or 4'
    )
  if cfg.rollout.first_steps not in (0, 1, 2, 4):
    raise UserError(
      f'config.rollout.first_steps is {cfg.rollout.first_steps}; it must be 1, '
      '2 or 4, or 0, as config.rollout.steps'
    )
  if cfg.rollout.first_steps and cfg.rollout.sampler != 'few_step':
    raise UserError(
      f'config.rollout.first_steps is {cfg.rollout.first_steps}, which is for '
      'few_step; set it to 0 with config.rollout.sampler='
      f'{cfg.rollout.sampler}'
    )


def _check_tokens(cfg: Config) -> None:
  stride, patch = cfg.codec.spatial_stride, cfg.dit.patch
  sizes = isinstance(patch, tuple) and len(patch) == 3 and min(patch) > 0
  if not sizes or patch[0] != 1:
    raise UserError(
      f'config.dit.patch is {patch}; a token is of one latent frame, so it '
      'must be (1, rows, columns)'
    )
  if cfg.dit.head_features % 2:
    raise UserError(
      f'config.dit.head_features is {cfg.dit.head_features}; it must be even, '
      'since positions rotate pairs'
    )
  _, rows, columns = patch
  for name, size, patch in (
    ('height', cfg.film.height, rows),
    ('width', cfg.film.width, columns),
  ):
    if size % (stride * patch):
      raise UserError(
        f'config.film.{name} is {size} pixels; it must be a multiple of '
        f'{stride * patch}'
      )
