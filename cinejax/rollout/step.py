"""One chunk of a film: reserve, denoise, commit. Every rollout uses this step.

  reserve   the slots that the chunk will take are chosen, and hidden from
            then on
  denoise   J passes from noise; routing happens inside the layers
  commit    the clean chunk is run at t = 0, and its keys and values are stored

`rollout.commit` is one of:

  separate  the commit is a pass of its own: J + 1 passes a chunk.
  fused     the commit of chunk i shares one packed pass, [clean i | noisy i+1],
            with the first step of chunk i + 1: J passes a chunk. The last
            chunk stays uncommitted.
  reuse     there is no commit pass: the keys and values of the last denoising
            pass, in which the chunk was still noisy, are stored. J passes a
            chunk, for students that were distilled with it.

`separate` and `fused` give the same film, because slots are reserved before
the denoising passes, and use is counted in those alone. `reuse` gives another.

denoising.py has the loop over the steps, sampler.py their times, their noise
and their updates, and passes.py what one pass reads and writes.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow
from cinejax.diffusion.config import DiffusionConfig
from cinejax.memory import bank as bank_lib
from cinejax.memory.config import MemoryConfig
from cinejax.models.rollout_pass import DenoiserOutput
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.denoising import DenoisingLoop
from cinejax.rollout.passes import (
  Branches,
  Passes,
  Shared,
  no_context,
  text_as_it_is,
)
from cinejax.rollout.sampler import Sampler, with_given_frame
from cinejax.rollout.state import (
  ChunkInput,
  ChunkOutput,
  LastPass,
  Pending,
  RolloutState,
)


@dataclasses.dataclass(frozen=True, eq=False)  # hashed by identity, for jit
class Step:
  """step(params, state, chunk) -> (state, output), pure and scannable."""

  denoise_fn: Callable[
    ..., DenoiserOutput
  ]  # with the signature of models.rollout_pass's
  memory: MemoryConfig
  diffusion: DiffusionConfig
  rollout: RolloutConfig
  latent_shape: tuple[int, int, int, int]  # F, Y, X, C of a chunk
  negative_text_WD: jax.Array | np.ndarray
  # What denoise_fn takes as `text` and `contexts`, computed once for a chunk:
  # caption_fn(params, text_BSWD), context_fn(params, x_BSFYXC, memory, view).
  caption_fn: Callable[..., Any] = text_as_it_is
  context_fn: Callable[..., Any] = no_context

  @functools.cached_property
  def sampler(self) -> Sampler:
    return Sampler(self.rollout, self.diffusion, self.latent_shape)

  @functools.cached_property
  def passes(self) -> Passes:
    return Passes(
      denoise_fn=self.denoise_fn,
      caption_fn=self.caption_fn,
      context_fn=self.context_fn,
      memory=self.memory,
      frames=self.latent_shape[0],
      guidance=self.rollout.guidance,
      negative_text_WD=self.negative_text_WD,
    )

  @functools.cached_property
  def loop(self) -> DenoisingLoop:
    return DenoisingLoop(self.passes, self.sampler)

  def __call__(
    self, params: Any, state: RolloutState, chunk: ChunkInput
  ) -> tuple[RolloutState, ChunkOutput]:
    state, output, _ = self.roll(params, state, chunk)
    return state, output

  def roll(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    exit_step: jax.Array | None = None,
  ) -> tuple[RolloutState, ChunkOutput, LastPass]:
    """Makes a chunk, and returns also the inputs of its last pass.

    With `exit_step` (int32 [], traced), the chunk is x_0 as that step predicts
    it, and later steps are not run; None: all steps are run.
    """
    state, output, last, branches, shared = self.denoise(
      params, state, chunk, exit_step
    )
    state = self.end_chunk(params, state, chunk, output, branches, shared)
    return state, output, last

  def denoise(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    exit_step: jax.Array | None = None,
  ) -> tuple[RolloutState, ChunkOutput, LastPass, Branches | None, Shared]:
    """`roll` without the commit: its state and the rest are for `end_chunk`."""
    before = state.bank
    state = self.begin_chunk(params, state, chunk)
    schedule = self.sampler.schedule(state, exit_step)
    progress, first = self.loop.begin(state, chunk, schedule), 0
    if state.pending is not None:
      state, progress = self.loop.first_and_commit(
        params, state, before, chunk, progress, schedule
      )
      first = 1
    # whether a film of the batch may take fewer steps than the others
    uneven = exit_step is not None or self.sampler.uneven
    progress, branches, shared = self.loop.run(
      params, state, chunk, progress, schedule, first, uneven
    )
    frame = progress.frame_JLBR
    if self.memory.by_head:
      frame = frame.reshape(*frame.shape[:3], -1, self.memory.routed_frames)
    output = ChunkOutput(latents_BFYXC=progress.x_BFYXC, frame_JLBR=frame)
    return state, output, progress.last, branches, shared

  def begin_chunk(
    self, params: Any, state: RolloutState, chunk: ChunkInput
  ) -> RolloutState:
    """The state that the denoising passes of the next chunk read."""
    return self._reserve(self._reencode(params, state), chunk)

  def replay(
    self, params: Any, state: RolloutState, chunk: ChunkInput, last: LastPass
  ) -> tuple[jax.Array, Branches]:
    """Runs the pass `last`, which made a chunk, again.

    Returns the chunk [B, F, Y, X, C] and what the network returned for each
    branch. `state` is what `begin_chunk` returns. Commits must not be fused.
    """
    done = self.passes.run(
      params,
      state,
      last.x_BFYXC[:, None],
      self.sampler.times(chunk, last.t_B),
      self.passes.read_text(params, state, chunk.text_BWD[:, None]),
      self.passes.view(state, state.bank, state.start_B),
      last.ranks_LBSR,
      False,
    )
    x = flow.x0_of_velocity(last.x_BFYXC, done.velocity_BFYXC, last.t_B)
    return with_given_frame(chunk, x), done.branches

  def end_chunk(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    output: ChunkOutput,
    branches: Branches | None,
    shared: Shared | None = None,
  ) -> RolloutState:
    """Commits the chunk that `begin_chunk` began, and moves on to the next.

    `branches` is what the chunk's last pass returned; only `reuse` needs it.
    `shared` saves the commit what the passes have computed; None: nothing.
    """
    x = output.latents_BFYXC
    if self.rollout.commit == 'reuse':
      state = self.passes.write(state, state.start_B, branches)
    elif state.pending is None:
      state = self._commit(params, state, chunk, x, shared)
    else:
      pending = Pending(latents_BFYXC=x, text_BWD=chunk.text_BWD)
      state = state.replace(pending=pending)
    frame_JLBR = output.frame_JLBR
    steps, layers, batch = frame_JLBR.shape[:3]
    frame_LBR = frame_JLBR.reshape(steps * layers, batch, -1)  # steps as layers
    state = state.replace(bank=bank_lib.count_use(state.bank, frame_LBR))
    return self._next(state, chunk, x)

  def commit(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    latents_BFYXC: jax.Array,
  ) -> RolloutState:
    """The state after a chunk that is given instead of generated.

    A film can thus begin with real frames: an image, a clip, a rendered film.
    """
    before, state = state, self._reserve(state, chunk)
    if before.pending is None:
      state = self._commit(params, state, chunk, latents_BFYXC)
    else:
      # the pending chunk gets a pass of its own, and this one is pending next
      before = before.replace(start_B=before.start_B - self.passes.frames)
      branches = self.passes.clean(
        params, before, before.pending.text_BWD, before.pending.latents_BFYXC
      ).branches
      pending = Pending(latents_BFYXC=latents_BFYXC, text_BWD=chunk.text_BWD)
      state = self.passes.write(state, before.start_B, branches)
      state = state.replace(pending=pending)
    return self._next(state, chunk, latents_BFYXC)

  def admit(
    self,
    params: Any,
    state: RolloutState,
    picture: jax.Array,
    text_BWD: jax.Array,
    latents_BFYXC: jax.Array,
  ) -> RolloutState:
    """The state between two chunks with a given picture in its memory.

    The picture is committed like the first chunk of a film, with nothing to
    read, so that its keys do not depend on other pictures or on the film.

    Args:
      params: of the network.
      state: of the films.
      picture: int32 [], its number from 0; another for each picture.
      text_BWD: what it shows.
      latents_BFYXC: a still clip of it.
    """
    state = self.passes.reserve_slots(state, picture)
    start = bank_lib.picture_start(picture, self.passes.frames)
    start_B = jnp.full_like(state.start_B, start)
    alone = state.replace(
      bank=bank_lib.emptied(state.bank),
      negative=state.negative and bank_lib.emptied(state.negative),
      start_B=start_B,
    )
    branches = self.passes.clean(
      params, alone, text_BWD, latents_BFYXC
    ).branches
    return self.passes.write(state, start_B, branches)

  def _next(self, state, chunk, x) -> RolloutState:
    """Moves on to the next chunk."""
    recent = state.recent and state.recent.push(x, chunk.text_BWD)
    start_B = state.start_B + self.passes.frames
    return state.replace(start_B=start_B, recent=recent)

  def _reserve(self, state, chunk) -> RolloutState:
    shot_B = state.shot_B + (chunk.cut_B & (state.start_B > 0))
    return self.passes.reserve_slots(state.replace(shot_B=shot_B))

  def _commit(self, params, state, chunk, x, shared=None) -> RolloutState:
    done = self.passes.clean(params, state, chunk.text_BWD, x, shared)
    return self.passes.write(state, state.start_B, done.branches)

  def _reencode(self, params, state) -> RolloutState:
    """Recomputes the keys and values of the window from an empty bank.

    This is a control experiment (`memory.reencode`): the window's keys then
    hold nothing of what is older than the window, so that an appearance cannot
    be relayed through them, chunk by chunk, from beyond it.
    """
    if state.recent is None:
      return state
    alone = state.replace(
      bank=bank_lib.emptied(state.bank),
      negative=state.negative and bank_lib.emptied(state.negative),
    )
    chunks = state.recent.text_BNWD.shape[1]
    for i in range(chunks):
      start_B = state.start_B - (chunks - i) * self.passes.frames
      alone = self.passes.reserve_slots(alone.replace(start_B=start_B))
      latents_BFYXC = state.recent.latents_BNFYXC[:, i]
      text_BWD = state.recent.text_BNWD[:, i]
      branches = self.passes.clean(
        params, alone, text_BWD, latents_BFYXC
      ).branches
      alone = self.passes.write(alone, start_B, branches)
      state = self.passes.write(state, start_B, branches)
    return state
