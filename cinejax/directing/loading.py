"""Loads the weights of a director from disk, straight onto its devices."""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import SingleDeviceSharding

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.sharding import param_shardings, with_shardings
from cinejax.directing import provenance
from cinejax.directing.director import Director
from cinejax.directing.weight_sets import WeightSets, find_students
from cinejax.interop.archive import locate, open_archive
from cinejax.interop.weights import load_codec, load_params
from cinejax.models import denoiser
from cinejax.models.arrangement import arranged
from cinejax.models.codec.base import Codec
from cinejax.rollout.placement import rollout_mesh


def load_director(
  cfg: Config, weights: str, adapters: Sequence[str] = ()
) -> Director:
  """Loads a director.

  Args:
    cfg: describes the networks.
    weights: the file of the DiT, or a folder that holds it under the name
      config.rollout.weights or under its name in Wan 2.1 or diffusers. The
      folder also holds the codec (interop/weights.py), unless
      config.train.codec_weights names another place.
    adapters: files of adapters to merge, `FILE` or `FILE:STRENGTH`.

  Settings that differ from those of the training are named on standard error.

  Raises:
    UserError: if a file is missing or does not fit the config.
  """
  try:
    file = locate(weights, cfg.rollout.weights)
  except UserError as error:
    raise UserError(f'--weights={weights}: {error}{_source(cfg)}') from error
  path = pathlib.Path(weights)
  folder = path if path.is_dir() else path.parent
  like = jax.eval_shape(
    functools.partial(denoiser.init_params, cfg.dit), jax.random.key(0)
  )
  # Parameters are placed as they are read, so that the host never holds all.
  like = with_shardings(
    like, weight_shardings(cfg, like), denoiser.resting_types(cfg.dit, like)
  )
  provenance.check(cfg, open_archive(file))
  try:
    codec = codec_on_devices(cfg, folder)
  except UserError as error:
    if cfg.train.codec_weights:
      raise
    raise UserError(
      f'{error}; set config.train.codec_weights if the codec is not '
      'with --weights'
    ) from error
  if not cfg.text.folder and cfg.text.name != 'hashed':  # hashed has no files
    text = dataclasses.replace(cfg.text, folder=str(folder))
    cfg = dataclasses.replace(cfg, text=text)

  def load(file: pathlib.Path, adapters: Sequence[str]) -> Any:
    params = load_params(file, like, adapters)
    return arranged(cfg.dit, params, jax.default_backend())

  students = find_students(cfg, file) if path.is_dir() else {}
  sets = WeightSets(load, file, students, tuple(adapters))
  return Director(cfg, *codec, load(file, adapters), weight_sets=sets)


def codec_on_devices(
  cfg: Config, folder: str | os.PathLike
) -> tuple[Codec, Any]:
  """Loads the codec, and its parameters onto the devices of a rollout.

  They are in config.train.codec_weights or, if that is empty, in `folder`.
  Raises UserError as `load_codec` does.
  """
  codec, params = load_codec(cfg.codec, cfg.train.codec_weights or folder)
  return codec, jax.device_put(params, weight_shardings(cfg, params))


def weight_shardings(cfg: Config, shapes: Any) -> Any:
  """The sharding of each parameter of the DiT or the codec in a rollout."""
  mesh = rollout_mesh(cfg.mesh, cfg.dit.heads)
  if mesh is not None:
    return param_shardings(shapes, mesh)
  here = SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(lambda _: here, shapes)


def _source(cfg: Config) -> str:
  """How to download such weights, if they are published."""
  published = {  # by channels and layers
    (16, 30): 'Wan2.1-T2V-1.3B',
    (16, 40): 'Wan2.1-T2V-14B',
    (48, 30): 'Wan2.2-TI2V-5B',
  }
  model = published.get((cfg.dit.channels, cfg.dit.layers))
  if cfg.text.name != 'umt5' or model is None:
    return ''
  return (
    f'; `hf download Wan-AI/{model} --local-dir=DIR` downloads the weights of '
    'this config'
  )
