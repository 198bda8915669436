"""A video codec with its weights: pixels to latents and back, by the chunk."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from cinejax.config import Config
from cinejax.directing.rollout_programs import on_mesh
from cinejax.film.timeline import Timeline
from cinejax.models.codec.base import Codec, from_bytes, to_bytes
from cinejax.rollout.placement import rollout_mesh


@dataclasses.dataclass(frozen=True)
class FilmCodec:
  """Encodes and decodes films on the devices that generate them."""

  cfg: Config
  codec: Codec
  codec_params: Any

  @functools.cached_property
  def mesh(self) -> Mesh | None:
    """The axes `sequence` and `tensor` of config.mesh; None: one device."""
    return rollout_mesh(self.cfg.mesh, self.cfg.dit.heads)

  @property
  def timeline(self) -> Timeline:
    return Timeline(
      self.cfg.film.frames_per_chunk,
      self.codec.temporal_stride,
      self.cfg.film.fps,
    )

  @functools.cached_property
  def decode_fn(self) -> Callable[..., Any]:
    """decode(params, z_BFYXC, state, first=) -> (uint8 video, state)."""

    def decode(params, z_BFYXC, state, first):
      video, state = self.codec.decode_chunk(params, z_BFYXC, state, first)
      return to_bytes(video), state

    return on_mesh(jax.jit(decode, static_argnames='first'), self.mesh)

  @functools.cached_property
  def encode_fn(self) -> Callable[..., Any]:
    """encode(params, uint8 video_BTYXC) -> z_BFYXC."""

    def encode(params, video_BTYXC):
      return self.codec.encode(params, from_bytes(video_BTYXC))

    return on_mesh(jax.jit(encode), self.mesh)

  def decode(self, latents: Iterable[jax.Array]) -> Iterator[np.ndarray]:
    """Decodes the chunks of B films.

    A chunk is fetched only after the next one has been requested, so that the
    device decodes one while it generates the other.

    Args:
      latents: [B, F, Y, X, C] of one chunk after another.

    Yields:
      uint8 [B, T, Y, X, 3] of one chunk after another.
    """
    state, waiting = None, None
    for z_BFYXC in latents:
      first = state is None
      if first:
        shape = (z_BFYXC.shape[0], *z_BFYXC.shape[2:])
        state = self.codec.init_decode(self.codec_params, shape)
      video, state = self.decode_fn(
        self.codec_params, z_BFYXC, state, first=first
      )
      if waiting is not None:
        yield np.asarray(waiting)
      waiting = video
    if waiting is not None:
      yield np.asarray(waiting)
