"""Compares how weights were trained with how a config directs them.

Weights of cinejax have the config and the stage of their training in their
metadata. A student of two steps can be directed in four, or with another shift,
and nothing fails, but the film is not what it learnt. Such differences are
named in one sentence before anything runs. Weights of other projects say
nothing, and nothing is compared.
"""

import sys
from collections.abc import Iterator
from typing import Any

import jax

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.interop.archive import Archive

_BASES = ('base', 'base_bidirectional')
_STUDENTS = ('init', 'dmd', 'tune')
_CODEC = ('name', 'temporal_stride', 'spatial_stride', 'channels')


def check(cfg: Config, archive: Archive) -> None:
  """Names on standard error what differs from the training of a DiT.

  Raises UserError if the chunks differ, with which it cannot be directed.
  """
  frames = archive.config('film').get('frames_per_chunk')
  if frames not in (None, cfg.film.frames_per_chunk):
    raise UserError(
      f'{archive.path} was trained in chunks of {frames} latent frames, and '
      f'config.film.frames_per_chunk is {cfg.film.frames_per_chunk}; take the '
      'variant of the config with which it was trained'
    )
  if (sentence := difference(cfg, archive)) and jax.process_index() == 0:
    print(sentence, file=sys.stderr)


def difference(cfg: Config, archive: Archive) -> str:
  """One sentence on what differs; '' if nothing does."""
  found = list(_differences(cfg, archive))
  if not found:
    return ''
  theirs = ', '.join(f'{key}={value}' for key, value, _ in found)
  ours = ', '.join(f'{key}={value}' for key, _, value in found)
  stage = archive.metadata.get('stage', 'training')
  return (
    f'{archive.path} was made by the stage {stage} with {theirs}, and this '
    f'config has {ours}; films may be worse than with its own settings'
  )


def _differences(
  cfg: Config, archive: Archive
) -> Iterator[tuple[str, Any, Any]]:
  """Keys of the config, with the values of the training and of `cfg`."""
  stage, rollout = archive.metadata.get('stage'), archive.config('rollout')
  few_step = cfg.rollout.sampler == 'few_step'
  if stage in _BASES and few_step:
    yield 'config.rollout.sampler', 'euler', 'few_step'
  if stage in _STUDENTS and rollout.get('sampler') == 'few_step':
    if few_step:
      yield from _pairs('rollout', rollout, cfg.rollout, 'steps', 'first_steps')
    else:
      yield 'config.rollout.sampler', 'few_step', cfg.rollout.sampler
      yield 'config.rollout.steps', rollout.get('steps'), cfg.rollout.steps
  diffusion = archive.config('diffusion')
  yield from _pairs('diffusion', diffusion, cfg.diffusion, 'shift')
  yield from _pairs('codec', archive.config('codec'), cfg.codec, *_CODEC)


def _pairs(
  section: str, theirs: dict[str, Any], ours: Any, *keys: str
) -> Iterator[tuple[str, Any, Any]]:
  for key in keys:
    # a key that is not there had no choice of values yet
    if key in theirs and theirs[key] != getattr(ours, key):
      yield f'config.{section}.{key}', theirs[key], getattr(ours, key)
