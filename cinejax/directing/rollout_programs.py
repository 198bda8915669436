"""What a config compiles to a rollout: programs without weights.

Every program takes the parameters of the DiT as an argument, so that training
can sample from parameters that change, and a test can trace shapes alone.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cinejax.config import Config
from cinejax.core.random import key_from_seed
from cinejax.film import moves
from cinejax.film.journal import ChunkPrompt
from cinejax.interop.texts import load_text
from cinejax.models import rollout_pass
from cinejax.models.captions import make_caption_fn
from cinejax.models.text import actions
from cinejax.models.text.select import Text
from cinejax.rollout import host_leaves
from cinejax.rollout.live import LiveStep, make_live
from cinejax.rollout.placement import OnMesh, rollout_mesh, state_shardings
from cinejax.rollout.scan import make_scan
from cinejax.rollout.state import ChunkInput, RolloutState, init_state
from cinejax.rollout.step import Step


@dataclasses.dataclass(frozen=True)
class RolloutPrograms:
  """The step of a rollout, compiled when it is first used, and its inputs."""

  cfg: Config
  # None: `text` loads the encoder that cfg.text names.
  text_encoder: Text | None = dataclasses.field(default=None, kw_only=True)

  @property
  def latent_shape(self) -> tuple[int, int, int, int]:
    """(F, Y, X, C) of a chunk."""
    return _latent_shape(self.cfg)

  @functools.cached_property
  def mesh(self) -> Mesh | None:
    """The axes `sequence` and `tensor` of config.mesh; None: one device."""
    return rollout_mesh(self.cfg.mesh, self.cfg.dit.heads)

  @functools.cached_property
  def text(self) -> Text:
    """The text encoder."""
    return self.text_encoder or load_text(self.cfg.text, self.mesh)

  @functools.cached_property
  def step(self) -> Step:
    """Denoises and commits one chunk; not compiled."""
    negative_WD = self.text.encode([self.cfg.rollout.negative_prompt])[0]
    return make_step(self.cfg, negative_WD)

  @functools.cached_property
  def scan_fn(self) -> Callable[..., Any]:
    """scan(params, state, chunks) -> (state, outputs); see rollout.scan."""
    return on_mesh(make_scan(self.step), self.mesh)

  @functools.cached_property
  def live_step(self) -> LiveStep:
    """One chunk in two calls; see rollout.live."""
    return make_live(self.step, functools.partial(on_mesh, mesh=self.mesh))

  @property
  def is_live(self) -> bool:
    """Whether films are made by `live_step`, not by `scan_fn`.

    Only a commit of its own can wait until the latents have left.
    """
    rollout = self.cfg.rollout
    return rollout.chunks_per_call == 1 and rollout.commit == 'separate'

  @functools.cached_property
  def commit_fn(self) -> Callable[..., Any]:
    """commit(params, state, chunk, latents_BFYXC) -> state, jitted."""
    return on_mesh(jax.jit(self.step.commit, donate_argnums=1), self.mesh)

  @functools.cached_property
  def admit_fn(self) -> Callable[..., Any]:
    """admit(params, state, picture, text_BWD, latents_BFYXC) -> state, jitted.

    See Step.admit; the state is donated.
    """
    return on_mesh(jax.jit(self.step.admit, donate_argnums=1), self.mesh)

  def begin(self, seeds: Sequence[int]) -> RolloutState:
    """The state of B films before their first chunk, one for each seed."""
    key_B = jnp.stack([key_from_seed(seed) for seed in seeds])
    return self.place(first_state(self.cfg, key_B))

  def reseeded(
    self, state: RolloutState, prompts: Sequence[ChunkPrompt]
  ) -> RolloutState:
    """The state of B films, with other noise where a prompt gives a seed."""
    if all(prompt.seed is None for prompt in prompts):
      return state
    keys = [
      state.key_B[n] if prompt.seed is None else key_from_seed(prompt.seed)
      for n, prompt in enumerate(prompts)
    ]
    return self.place(state.replace(key_B=jnp.stack(keys)))

  def place(self, state: RolloutState) -> RolloutState:
    """The state on the devices of `mesh`."""
    if self.mesh is None:
      archives = self.cfg.memory.archived_frames
      return host_leaves.committed(state) if archives else state
    return jax.device_put(state, state_shardings(state, self.mesh))

  def follows(self, camera: str) -> bool:
    """Whether the model takes these moves, as a camera or as actions."""
    keys = moves.parse(camera, 'camera') if camera else ()
    return set(keys) - {moves.NONE} <= set(self.cfg.text.steering)

  def _caption(self, p: ChunkPrompt) -> str:
    """The prompt with the moves of its latent frames beside their actions."""
    if not p.camera or not self.follows(p.camera):
      return p.prompt
    moved = moves.of_chunk(p.camera, p.number, self.cfg.film.frames_per_chunk)
    text, named = actions.read(p.prompt)
    named = named or [[]]
    return actions.write(
      text,
      [
        named[min(frame, len(named) - 1)] + move
        for frame, move in enumerate(moved)
      ],
    )

  def chunk_input(self, prompts: Sequence[ChunkPrompt]) -> ChunkInput:
    """The input of the next chunk of B films, from one prompt for each."""
    text_BWD = np.array(self.text.encode([self._caption(p) for p in prompts]))
    for row_WD, p in zip(text_BWD, prompts, strict=True):
      if p.share < 1:  # eq. (1) of film.journal
        previous = self._caption(p._replace(prompt=p.previous_prompt))
        previous_WD = self.text.encode([previous])[0]
        row_WD[:] = p.share * row_WD + (1 - p.share) * previous_WD
    return ChunkInput(
      text_BWD=jnp.asarray(text_BWD),
      cut_B=jnp.asarray([p.cut for p in prompts]),
    )


def on_mesh(fn: Callable[..., Any], mesh: Mesh | None) -> Callable[..., Any]:
  """`fn`, called under `mesh` if there is one."""
  return OnMesh(fn, mesh) if mesh else fn


def make_step(
  cfg: Config,
  negative_text_WD: jax.Array | np.ndarray,
  shape: tuple[int, int, int, int] | None = None,
) -> Step:
  """The step of a rollout.

  Args:
    cfg: its sections dit, memory, diffusion and rollout.
    negative_text_WD: the encoded negative prompt.
    shape: (F, Y, X, C) of a chunk; None: that of the config.
  """
  shape = shape or _latent_shape(cfg)
  return Step(
    denoise_fn=rollout_pass.make_denoise_fn(cfg.dit, cfg.memory),
    memory=cfg.memory,
    diffusion=cfg.diffusion,
    rollout=cfg.rollout,
    latent_shape=shape,
    negative_text_WD=negative_text_WD,
    caption_fn=make_caption_fn(cfg.dit, shape[0]),
    context_fn=rollout_pass.make_context_fn(cfg.dit, cfg.memory),
  )


def first_state(cfg: Config, key_B: jax.Array) -> RolloutState:
  """The state before the first chunk, of a film for each typed key of key_B."""
  return init_state(
    cfg.dit,
    cfg.memory,
    key_B=key_B,
    latent_shape=_latent_shape(cfg),
    text_shape=(cfg.text.rows, cfg.text.features),
    guided=cfg.rollout.guidance != 1,
    fused=cfg.rollout.commit == 'fused',
  )


def _latent_shape(cfg: Config) -> tuple[int, int, int, int]:
  """(F, Y, X, C) of a chunk."""
  return (cfg.film.frames_per_chunk, *cfg.frame_shape)
