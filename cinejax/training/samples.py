"""What a stage can do so far, as films to look at while it trains."""

import pathlib
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.config import Config
from cinejax.data.sources import LatentFilm
from cinejax.film.media import write_video
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec, from_bytes, to_bytes
from cinejax.models.text.select import Text
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import ChunkInput, init_state
from cinejax.rollout.step import Step
from cinejax.rollout.stream import stream
from cinejax.training.state import Params

SampleFn = Callable[[Params, pathlib.Path], None]


def make_codec_sampler(
  codec: Codec, clip_TYXC: np.ndarray, fps: float
) -> SampleFn:
  """-> sample_fn(params, path): the uint8 clip above its reconstruction."""

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
  cfg: Config, film: LatentFilm, text: Text, codec: Codec, codec_params: Params
) -> SampleFn:
  """-> sample_fn(params, path): a film of `film`'s own prompts and cuts.

  Always from the same noise, so that what differs between two samples is
  what was learnt between them.
  """
  shape = (cfg.film.frames_per_chunk, *film.latents.shape[1:])
  negative_WD, *text_NWD = text.encode(
    [cfg.rollout.negative_prompt, *film.prompts]
  )
  chunks = [
    ChunkInput(text_BWD=jnp.asarray(text_WD)[None], cut_B=jnp.asarray([cut]))
    for text_WD, cut in zip(text_NWD, film.cuts, strict=True)
  ]
  step = Step(
    denoise_fn=denoiser.make_denoise_fn(cfg.dit, cfg.memory),
    memory=cfg.memory,
    diffusion=cfg.diffusion,
    rollout=cfg.rollout,
    latent_shape=shape,
    negative_text_WD=negative_WD,
  )
  scan_fn = make_scan(step)
  decode = jax.jit(codec.decode_chunk, static_argnames='first')

  def frames(params: Params) -> Iterator[np.ndarray]:
    state = init_state(
      cfg.dit,
      cfg.memory,
      key_B=jax.random.key(cfg.seed)[None],
      latent_shape=shape,
      text_shape=negative_WD.shape,
      guided=cfg.rollout.guidance != 1,
      fused=cfg.rollout.commit == 'fused',
    )
    seen = codec.init_decode(codec_params, (1, *shape[1:]))
    for i, (_, output) in enumerate(stream(scan_fn, params, state, chunks)):
      video_BTYXC, seen = decode(
        codec_params, output.latents_BFYXC, seen, first=i == 0
      )
      yield from np.asarray(to_bytes(video_BTYXC[0]))

  def sample_fn(params: Params, path: pathlib.Path) -> None:
    write_video(path, frames(params), cfg.film.fps)

  return sample_fn
