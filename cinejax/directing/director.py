"""The networks of a config, put together: prompts in, film out.

What `direct`, `evaluate`, `bench` and training's samples share. It owns no
state: a film in the making is a RolloutState that the caller holds.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cinejax.config import Config, check
from cinejax.core.errors import UserError
from cinejax.core.random import key_from_seed
from cinejax.film.journal import ChunkPrompt, Film, Settings
from cinejax.film.screenplay import segment_chunks
from cinejax.film.timeline import Timeline
from cinejax.interop.texts import load_text
from cinejax.models import denoiser
from cinejax.models.codec.base import Codec, from_bytes, to_bytes
from cinejax.models.text.select import Text
from cinejax.rollout.placement import OnMesh, rollout_mesh, state_shardings
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import (
  ChunkInput,
  ChunkOutput,
  RolloutState,
  init_state,
)
from cinejax.rollout.step import Step
from cinejax.rollout.stream import stream


@dataclasses.dataclass(frozen=True)
class Director:
  """Directs films with the networks it is given."""

  cfg: Config
  params: Any  # of the DiT
  codec: Codec
  codec_params: Any
  text_encoder: Text | None = None  # None: the encoder of cfg.text

  @property
  def timeline(self) -> Timeline:
    return Timeline(
      self.cfg.film.frames_per_chunk,
      self.codec.temporal_stride,
      self.cfg.film.fps,
    )

  @property
  def latent_shape(self) -> tuple[int, int, int, int]:
    """(F, Y, X, C) of a chunk."""
    return (self.cfg.film.frames_per_chunk, *self.cfg.frame_shape)

  @functools.cached_property
  def text(self) -> Text:
    return self.text_encoder or load_text(self.cfg.text, self.mesh)

  @functools.cached_property
  def step(self) -> Step:
    cfg = self.cfg
    return Step(
      denoise_fn=denoiser.make_denoise_fn(cfg.dit, cfg.memory),
      memory=cfg.memory,
      diffusion=cfg.diffusion,
      rollout=cfg.rollout,
      latent_shape=self.latent_shape,
      negative_text_WD=self.text.encode([cfg.rollout.negative_prompt])[0],
    )

  @functools.cached_property
  def scan_fn(self):
    return self._placed(make_scan(self.step))

  @functools.cached_property
  def commit_fn(self):
    """commit(params, state, chunk, latents_BFYXC) -> state, jitted."""
    return self._placed(jax.jit(self.step.commit, donate_argnums=1))

  @functools.cached_property
  def mesh(self) -> Mesh | None:
    """Of the axes `sequence` and `tensor` of config.mesh; None: one device."""
    return rollout_mesh(self.cfg.mesh, self.cfg.dit.heads)

  def _placed(self, fn):
    return OnMesh(fn, self.mesh) if self.mesh else fn

  def begin(self, seeds: Sequence[int]) -> RolloutState:
    """A film that has not begun, for each seed."""
    state = init_state(
      self.cfg.dit,
      self.cfg.memory,
      key_B=jnp.stack([key_from_seed(seed) for seed in seeds]),
      latent_shape=self.latent_shape,
      text_shape=(self.cfg.text.rows, self.cfg.text.features),
      guided=self.cfg.rollout.guidance != 1,
      fused=self.cfg.rollout.commit == 'fused',
    )
    return self.place(state)

  def place(self, state: RolloutState) -> RolloutState:
    """On the devices where films are made."""
    if self.mesh is None:
      return state
    return jax.device_put(state, state_shardings(state, self.mesh))

  def chunk_input(self, prompts: Sequence[ChunkPrompt]) -> ChunkInput:
    """The next chunk of each of B films."""
    text_BWD = np.array(self.text.encode([p.prompt for p in prompts]))
    for row_WD, p in zip(text_BWD, prompts, strict=True):
      if p.share < 1:  # eq. (1) of film.journal
        before_WD = self.text.encode([p.previous_prompt])[0]
        row_WD[:] = p.share * row_WD + (1 - p.share) * before_WD
    return ChunkInput(
      text_BWD=jnp.asarray(text_BWD),
      cut_B=jnp.asarray([p.cut for p in prompts]),
    )

  def variant(self, settings: Settings) -> 'Director':
    """The director that does as a film asks from some chunk on.

    Films in the making go from one to the other: states are alike. Raises
    UserError where this model cannot do it.
    """
    if settings == Settings():
      return self
    if settings not in self._variants:
      cfg = apply_settings(self.cfg, settings)
      self._variants[settings] = dataclasses.replace(self, cfg=cfg)
    return self._variants[settings]

  def check(self, film: Film) -> None:
    """Raises UserError for a film that is too long, or for a segment that
    asks what this model cannot do."""
    segment_chunks(film, self.timeline.chunk_secs)
    for index, segment in enumerate(film.segments):
      try:
        self.check_prompt(segment.prompt)
      except UserError as error:
        raise UserError(f'{film.location(index)}: {error}') from error
      for name, value in segment.settings.given().items():
        try:
          apply_settings(self.cfg, Settings(**{name: value}))
        except UserError as error:
          raise UserError(f'{film.location(index)}.{name}: {error}') from error

  def check_prompt(self, prompt: str) -> None:
    """Raises UserError for actions that this model does not take."""
    if self.cfg.text.actions:
      self.text.encode([prompt])

  @functools.cached_property
  def _variants(self) -> dict[Settings, 'Director']:
    return {}

  def stream(
    self, state: RolloutState, chunks: Iterable[ChunkInput]
  ) -> Iterator[tuple[RolloutState, ChunkOutput]]:
    """Chunk by chunk, from `state` on; see rollout.stream."""
    per_call = self.cfg.rollout.chunks_per_call
    return stream(self.scan_fn, self.params, state, chunks, per_call)

  def roll(
    self,
    prompts: Iterable[Sequence[ChunkPrompt]],
    seeds: Sequence[int],
    given_BFYXC: jax.Array | None = None,
  ) -> Iterator[np.ndarray]:
    """Frames uint8 [B, T, Y, X, 3] of chunk after chunk of B new films.

    `prompts` are those of all films, chunk by chunk, drawn as they are needed.
    What they begin with may be given (opening.py): whole chunks, or the first
    latent frame of the first.
    """
    prompts = iter(prompts)

    def latents() -> Iterator[jax.Array]:
      state = self.begin(seeds)
      if given_BFYXC is not None:
        state, opened = self._open(state, prompts, given_BFYXC)
        yield from opened
      for settings, group in itertools.groupby(prompts, _settings):
        chunks = map(self.chunk_input, group)
        for after, output in self.variant(settings).stream(state, chunks):
          state = after
          yield output.latents_BFYXC

    return self.decode(latents())

  def _open(
    self,
    state: RolloutState,
    prompts: Iterator[Sequence[ChunkPrompt]],
    given_BFYXC: jax.Array,
  ) -> tuple[RolloutState, list[jax.Array]]:
    """The state after what is given, and the latents of its chunks."""
    frames = self.cfg.film.frames_per_chunk
    if given_BFYXC.shape[1] < frames:
      said = next(prompts)
      chunk = self.chunk_input(said).replace(image_BYXC=given_BFYXC[:, 0])
      made = self.variant(_settings(said)).stream(state, [chunk])
      ((state, output),) = made
      return state, [output.latents_BFYXC]
    chunks = jnp.split(given_BFYXC, given_BFYXC.shape[1] // frames, 1)
    for z_BFYXC, said in zip(chunks, prompts, strict=False):
      chunk = self.chunk_input(said)
      state = self.commit_fn(self.params, state, chunk, z_BFYXC)
    return state, chunks

  @functools.cached_property
  def decode_fn(self):
    """decode(params, z_BFYXC, state, first=) -> (uint8 video, state)."""

    def decode(params, z_BFYXC, state, first):
      video, state = self.codec.decode_chunk(params, z_BFYXC, state, first)
      return to_bytes(video), state

    return self._placed(jax.jit(decode, static_argnames='first'))

  @functools.cached_property
  def encode_fn(self):
    """encode(params, uint8 video_BTYXC) -> z_BFYXC."""

    def encode(params, video_BTYXC):
      return self.codec.encode(params, from_bytes(video_BTYXC))

    return self._placed(jax.jit(encode))

  def decode(self, latents: Iterable[jax.Array]) -> Iterator[np.ndarray]:
    """Latents [B, F, Y, X, C] of chunk after chunk -> uint8 [B, T, Y, X, 3].

    A chunk is fetched only after the next one has been asked for, so that
    the device decodes one while it makes the other.
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


def _settings(said: Sequence[ChunkPrompt]) -> Settings:
  (settings,) = {p.settings for p in said}  # films of a batch share them
  return settings


def apply_settings(cfg: Config, settings: Settings) -> Config:
  """`cfg` with what a film asks for; UserError where it cannot be had."""
  rollout, memory = cfg.rollout, cfg.memory
  if settings.policy:
    memory = dataclasses.replace(memory, policy=settings.policy)
  if settings.steps is not None:
    rollout = dataclasses.replace(rollout, steps=settings.steps)
  if settings.guidance is not None:
    if rollout.guidance == 1:
      raise UserError(
        'this model runs without guidance (config.rollout.guidance is 1), so '
        'a film cannot change it'
      )
    rollout = dataclasses.replace(rollout, guidance=settings.guidance)
  cfg = dataclasses.replace(cfg, memory=memory, rollout=rollout)
  check(cfg)
  return cfg
