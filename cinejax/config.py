"""The door where ml_collections.ConfigDict becomes frozen dataclasses.

Below this file nothing reads a ConfigDict. An unknown key is an error that
names the nearest known one. Each section states the rules of its own fields
(core/config.py); this file applies them, and checks what crosses sections.
"""

import dataclasses
import difflib
import math
import typing
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cinejax.core.config import MeshConfig, between, rule_of
from cinejax.core.errors import UserError
from cinejax.data.config import DataConfig
from cinejax.diffusion.config import DiffusionConfig
from cinejax.evaluation.config import EvalConfig
from cinejax.film.config import FilmConfig
from cinejax.memory.config import MemoryConfig
from cinejax.models.config import (
  CAMERA_KEYS,
  POSE,
  CodecConfig,
  DiTConfig,
  TextConfig,
)
from cinejax.objectives.config import AlignmentConfig, DmdConfig, InitConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.serving.config import ServingConfig
from cinejax.story.config import StoryConfig
from cinejax.training.config import Stages, TrainConfig


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything a command needs to know; see configs/base.py for meanings."""

  name: str
  seed: int = between(0, 2**32 - 1, 'because checkpoints keep 32 bits of it')
  film: FilmConfig
  codec: CodecConfig
  text: TextConfig
  dit: DiTConfig
  memory: MemoryConfig
  diffusion: DiffusionConfig
  rollout: RolloutConfig
  data: DataConfig
  story: StoryConfig
  alignment: AlignmentConfig
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

  @property
  def cast_kinds(self) -> tuple[tuple[str, float], ...]:
    """Kinds of story films to train on; () if data.films are in their place."""
    return () if self.data.films else self.story.kinds


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


def _check_rules(section: Any, path: str) -> None:
  """Checks each field by its rule, and what a section says of its fields."""
  for field in dataclasses.fields(section):
    value, at = getattr(section, field.name), f'{path}.{field.name}'
    if dataclasses.is_dataclass(value):
      _check_rules(value, at)
      continue
    if isinstance(value, float) and not math.isfinite(value):
      raise UserError(f'{at} is {value}; it must be finite')
    rule = rule_of(field)
    if rule and not rule.holds(value):
      raise UserError(f'{at} is {value}; it must {rule.must}')
  if hasattr(section, 'conflict') and (sentence := section.conflict(path)):
    raise UserError(sentence)


def check(cfg: Config) -> None:
  """Raises UserError, one sentence, for what does not go together."""
  _check_rules(cfg, 'config')
  _check_memory(cfg)
  _check_tokens(cfg)
  _check_layers(cfg)
  _check_steering(cfg)


def _check_steering(cfg: Config) -> None:
  if not len(cfg.text.actions) == cfg.dit.actions <= cfg.text.features:
    raise UserError(
      f'config.text.actions names {len(cfg.text.actions)} actions and '
      f'config.dit.actions is {cfg.dit.actions}; they must agree, and be at '
      f'most config.text.features = {cfg.text.features}'
    )
  if cfg.text.camera != any(cfg.dit.camera):
    raise UserError(
      f'config.text.camera is {cfg.text.camera} and config.dit.camera is '
      f'{cfg.dit.camera}; a model of cameras needs True and focal lengths'
    )
  need = cfg.dit.actions + POSE
  if cfg.text.camera and need > cfg.text.features:
    raise UserError(
      f'config.text.features is {cfg.text.features}; actions and a camera need '
      f'{need}'
    )
  if taken := cfg.text.camera and set(cfg.text.actions) & set(CAMERA_KEYS):
    raise UserError(
      f'config.text.actions names {", ".join(sorted(taken))}, which are moves '
      'of the camera with config.text.camera; name them otherwise'
    )


def _check_layers(cfg: Config) -> None:
  for key, weight, layers in (
    ('dmd.gan_layers', cfg.dmd.gan_weight, cfg.dmd.gan_layers),
    ('alignment.layers', cfg.alignment.weight, cfg.alignment.layers),
  ):
    known = layers and 0 <= min(layers) and max(layers) < cfg.dit.layers
    if weight and not known:
      raise UserError(
        f'config.{key} is {layers}; it must name layers, which count from 0, '
        f'and config.dit.layers is {cfg.dit.layers}'
      )


def _check_memory(cfg: Config) -> None:
  frames, window = cfg.film.frames_per_chunk, cfg.memory.window_frames
  if window < frames or window % frames:
    raise UserError(
      f'config.memory.window_frames is {window}; it must be a multiple of '
      f'config.film.frames_per_chunk = {frames}'
    )
  layer, layers = cfg.memory.route_layer, cfg.dit.layers
  if cfg.memory.scope == 'shared' and layer >= layers:
    raise UserError(
      f'config.memory.route_layer is {layer}; layers count from 0 and '
      f'config.dit.layers is {layers}'
    )
  if cfg.memory.reencode and cfg.rollout.commit != 'separate':
    raise UserError(
      'config.memory.reencode runs the window again before each chunk; it '
      'needs config.rollout.commit=separate'
    )
  if cfg.memory.evict == 'merge' and cfg.rollout.commit == 'fused':
    raise UserError(
      'config.memory.evict=merge changes frames that the commit of a chunk '
      'still reads with config.rollout.commit=fused; set '
      'config.rollout.commit=separate'
    )
  if cfg.memory.archive != 'none':
    if cfg.rollout.commit == 'fused':
      raise UserError(
        'config.rollout.commit is fused, with which frames move to the archive '
        'before a commit that still reads them; config.memory.archive=host '
        'needs separate or reuse'
      )
    if cfg.mesh.sequence * cfg.mesh.tensor != 1:
      raise UserError(
        f'config.memory.archive is {cfg.memory.archive}, which one device '
        'reads; set config.mesh.sequence and config.mesh.tensor to 1'
      )
  need = window + cfg.memory.routed_frames + frames
  if cfg.memory.bank_frames < need:
    raise UserError(
      f'config.memory.bank_frames is {cfg.memory.bank_frames}; window, routed '
      f'and own frames need at least {need}'
    )


def _check_tokens(cfg: Config) -> None:
  stride, (_, rows, columns) = cfg.codec.spatial_stride, cfg.dit.patch
  for name, size, patch in (
    ('height', cfg.film.height, rows),
    ('width', cfg.film.width, columns),
  ):
    if size % (stride * patch):
      raise UserError(
        f'config.film.{name} is {size} pixels; it must be a multiple of '
        f'{stride * patch}'
      )
