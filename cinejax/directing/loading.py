"""A director of what is on disk: weights read straight onto its devices."""

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
from cinejax.core.sharding import param_shardings
from cinejax.directing.director import Director
from cinejax.interop.archive import locate, open_archive
from cinejax.interop.weights import load_codec, load_params
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec
from cinejax.rollout.placement import rollout_mesh


def load_director(
  cfg: Config, weights: str, adapters: Sequence[str] = ()
) -> Director:
  """A director with weights from disk.

  `weights` is the DiT's file or a folder with it, under the name that
  config.rollout.weights says or as Wan 2.1 and diffusers call it, and with
  the codec (interop/weights.py); config.train.codec_weights, where set, says
  where else the codec is.
  `adapters` are LoRA files to merge. Raises UserError where a file is missing
  or does not fit.
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
  # placed as they are read: the host never holds the whole
  like = jax.tree.map(
    lambda x, dtype, place: jax.ShapeDtypeStruct(
      x.shape, dtype, sharding=place
    ),
    like,
    denoiser.resting_types(cfg.dit, like),
    weight_shardings(cfg, like),
  )
  _check_frames(cfg, file)
  try:
    codec = codec_on_devices(cfg, folder)
  except UserError as error:
    if cfg.train.codec_weights:
      raise
    raise UserError(
      f'{error}; config.train.codec_weights says where the codec is, if not '
      'with --weights'
    ) from error
  if not cfg.text.folder and cfg.text.name != 'hashed':  # that reads no file
    text = dataclasses.replace(cfg.text, folder=str(folder))
    cfg = dataclasses.replace(cfg, text=text)
  return Director(cfg, *codec, load_params(file, like, adapters))


def codec_on_devices(
  cfg: Config, folder: str | os.PathLike
) -> tuple[Codec, Any]:
  """The codec and its parameters, uploaded once to where films are made.

  They are in config.train.codec_weights or, where that is not set, in
  `folder`. Errors as in `load_codec`.
  """
  codec, params = load_codec(cfg.codec, cfg.train.codec_weights or folder)
  return codec, jax.device_put(params, weight_shardings(cfg, params))


def _check_frames(cfg: Config, file: pathlib.Path) -> None:
  """Raises UserError for weights of ours that know chunks of another size."""
  frames = open_archive(file).config('film').get('frames_per_chunk')
  if frames not in (None, cfg.film.frames_per_chunk):
    raise UserError(
      f'{file} was trained in chunks of {frames} latent frames, and '
      f'config.film.frames_per_chunk is {cfg.film.frames_per_chunk}; take the '
      "config's variant that it was trained with"
    )


def weight_shardings(cfg: Config, shapes: Any) -> Any:
  """Where a rollout keeps each parameter of the DiT, or of the codec."""
  mesh = rollout_mesh(cfg.mesh, cfg.dit.heads)
  if mesh is not None:
    return param_shardings(shapes, mesh)
  here = SingleDeviceSharding(jax.local_devices()[0])
  return jax.tree.map(lambda _: here, shapes)


def _source(cfg: Config) -> str:
  """Where such weights come from, if they are published."""
  published = {30: '1.3B', 40: '14B'}  # by layers
  if cfg.text.name != 'umt5' or cfg.dit.layers not in published:
    return ''
  return (
    '; `hf download Wan-AI/Wan2.1-T2V-'
    f'{published[cfg.dit.layers]} --local-dir=DIR` fetches what this config '
    'takes'
  )
