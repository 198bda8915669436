"""Films from the network of a stage, written while it trains."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import Config
from cinejax.core.config import MeshConfig
from cinejax.core.random import key_from_seed
from cinejax.data.pipeline import fit_film
from cinejax.data.sources import LatentFilm
from cinejax.diffusion.solver import euler_step
from cinejax.diffusion.timesteps import euler_grid
from cinejax.directing.film_codec import FilmCodec
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.film.media import write_video
from cinejax.models.codec.base import Codec, from_bytes, to_bytes
from cinejax.models.denoiser import FilmFn
from cinejax.models.text.select import Text
from cinejax.objectives import guidance
from cinejax.rollout.state import ChunkInput
from cinejax.rollout.stream import stream
from cinejax.training.state import Params

SampleFn = Callable[[Params, pathlib.Path], None]


def make_codec_sampler(
  codec: Codec, clip_TYXC: np.ndarray, fps: float
) -> SampleFn:
  """Returns sample_fn(params, path): a clip above its reconstruction.

  `clip_TYXC` is uint8.
  """

  @jax.jit
  def reconstruct(params: Params, video_BTYXC: jax.Array) -> jax.Array:
    z_BFYXC = codec.encode(params, from_bytes(video_BTYXC))
    return to_bytes(codec.decode(params, z_BFYXC))

  def sample_fn(params: Params, path: pathlib.Path) -> None:
    decoded_TYXC = np.asarray(reconstruct(params, clip_TYXC[None])[0])
    both_TYXC = np.concatenate([clip_TYXC, decoded_TYXC], axis=1)
    write_video(path, both_TYXC, fps)

  return sample_fn


def make_film_sampler(
  cfg: Config, text: Text, film: LatentFilm, codec: Codec, codec_params: Params
) -> SampleFn:
  """Returns sample_fn(params, path): a film with prompts and cuts of `film`.

  All samples have the same noise, so that two of them differ only by what was
  learnt between them.
  """
  # All samples share the programs, which are thus compiled once.
  programs = RolloutPrograms(_without_mesh(cfg), text_encoder=text)
  film_codec = FilmCodec(_without_mesh(cfg), codec, codec_params)
  text_NWD = text.encode(film.prompts)
  chunks = [
    ChunkInput(text_BWD=jnp.asarray(text_WD)[None], cut_B=jnp.asarray([cut]))
    for text_WD, cut in zip(text_NWD, film.cuts, strict=True)
  ]

  def frames(params: Params) -> Iterator[np.ndarray]:
    state = programs.begin([cfg.seed])
    outputs = stream(programs.scan_fn, params, state, chunks)
    latents = (output.latents_BFYXC for _, output in outputs)
    for video_BTYXC in film_codec.decode(latents):
      yield from video_BTYXC[0]

  def sample_fn(params: Params, path: pathlib.Path) -> None:
    write_video(path, frames(params), cfg.film.fps)

  return sample_fn


def make_whole_film_sampler(
  cfg: Config,
  text: Text,
  film_fn: FilmFn,
  film: LatentFilm,
  codec: Codec,
  codec_params: Params,
) -> SampleFn:
  """Like `make_film_sampler`, for a bidirectional base: all chunks at once."""
  film_codec = FilmCodec(_without_mesh(cfg), codec, codec_params)
  frames = cfg.film.frames_per_chunk
  times = euler_grid(cfg.rollout.steps, cfg.diffusion.shift)
  row = fit_film(film, text.encode, len(film.prompts), frames)
  films = guidance.films({name: x[None] for name, x in row.items()}, frames)
  negative_text_WD = text.encode([cfg.rollout.negative_prompt])[0]
  key = key_from_seed(cfg.seed)
  velocity_fn = guidance.guided(
    film_fn, films, key, negative_text_WD, cfg.rollout.guidance
  )

  @jax.jit
  def make(params: Params) -> jax.Array:
    def step(x, pair):
      t, t_next = (jnp.broadcast_to(time, films.shape_BNF) for time in pair)
      return euler_step(x, velocity_fn(params, x, t), t, t_next), None

    pairs = jnp.asarray(np.stack([times[:-1], times[1:]], 1))
    x = jax.random.normal(key, films.clean_BNFYXC.shape)
    return jax.lax.scan(step, x, pairs)[0]

  def sample_fn(params: Params, path: pathlib.Path) -> None:
    chunks = np.moveaxis(np.asarray(make(params)), 1, 0)
    video = (frame for part in film_codec.decode(chunks) for frame in part[0])
    write_video(path, video, cfg.film.fps)

  return sample_fn


def _without_mesh(cfg: Config) -> Config:
  """`cfg` with a mesh of one device: training has split the parameters."""
  return dataclasses.replace(cfg, mesh=MeshConfig(1, 1, 1, 1))
