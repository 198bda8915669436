"""One chunk of film: reserve, denoise, commit. Written once, for all uses.

  reserve   the slots the chunk will take are chosen, and hidden from then on
  denoise   J passes from noise; routing happens inside the layers
  commit    the clean chunk is run at t = 0 and its keys and values stored

`rollout.commit`: `separate` spends a pass on the commit (J + 1 passes);
`fused` lets the commit of chunk i ride with the first step of chunk i + 1 as
one packed pass [clean i | noisy i+1] (J passes), and leaves the last chunk
uncommitted. Both give the same film, because slots are reserved before, and
use is counted only in, the denoising passes. `reuse` has no commit: what the
last denoising pass computed is stored, of a chunk that was still noisy (J
passes, and another film; for students that were distilled so).

Times, noise and steps are the sampler's (sampler.py), what a pass sees and
leaves is in passes.py.
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
from cinejax.memory import router
from cinejax.memory.config import MemoryConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.passes import Passes
from cinejax.rollout.sampler import Sampler, hold
from cinejax.rollout.state import (
  ChunkInput,
  ChunkOutput,
  LastPass,
  Pending,
  RolloutState,
)

Kept = tuple[Any, ...]  # Pass.kept


@dataclasses.dataclass(frozen=True, eq=False)  # hashed by identity, for jit
class Step:
  """step(params, state, chunk) -> (state, output), pure and scannable."""

  denoise_fn: Callable[..., Any]  # models.denoiser's, or of its signature
  memory: MemoryConfig
  diffusion: DiffusionConfig
  rollout: RolloutConfig
  latent_shape: tuple[int, int, int, int]  # F, Y, X, C of a chunk
  negative_text_WD: jax.Array | np.ndarray

  @functools.cached_property
  def sampler(self) -> Sampler:
    return Sampler(self.rollout, self.diffusion, self.latent_shape)

  @functools.cached_property
  def passes(self) -> Passes:
    return Passes(
      denoise_fn=self.denoise_fn,
      memory=self.memory,
      frames=self.latent_shape[0],
      guidance=self.rollout.guidance,
      negative_text_WD=self.negative_text_WD,
    )

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
    """A chunk, and the pass that made it.

    x_0 as step `exit_step` (int32 [], traced) predicts it is the chunk; later
    steps are not run. None: the last step of the grid.
    """
    before = state.bank
    state = self.open(params, state, chunk)
    grid_BJ = self.sampler.grid(state.start_B, exit_step)
    noise_JBFYXC = self.sampler.noise(state)
    x = hold(chunk, noise_JBFYXC[0])
    last = LastPass(
      x_BFYXC=x, t_B=grid_BJ[:, 0], ranks_LBSR=self.passes.no_ranks(state)
    )
    routed = self.passes.none_routed(state, self.sampler.steps)
    first, history = 0, self.sampler.history(x)
    if state.pending is not None:
      state, x, history, ranks, frame_LBR = self._first_and_commit(
        params, state, before, chunk, x, history, grid_BJ, noise_JBFYXC
      )
      last, routed = last.replace(ranks_LBSR=ranks), routed.at[0].set(frame_LBR)
      first = 1
    x, last, frame_JLBR, kept = self._denoise(
      params,
      state,
      chunk,
      (x, history, last, routed),
      first,
      grid_BJ,
      noise_JBFYXC,
      uneven=exit_step is not None or self.sampler.uneven,
    )
    output = ChunkOutput(latents_BFYXC=x, frame_JLBR=frame_JLBR)
    return self.close(params, state, chunk, output, kept), output, last

  def open(
    self, params: Any, state: RolloutState, chunk: ChunkInput
  ) -> RolloutState:
    """The state as the passes of the next chunk see it."""
    return self._reserve(self._reencode(params, state), chunk)

  def predict(
    self, params: Any, state: RolloutState, chunk: ChunkInput, last: LastPass
  ) -> tuple[jax.Array, Kept]:
    """The chunk [B, F, Y, X, C] that the pass `last` made, made again, and
    what the pass leaves.

    `state` is as `open` gives it. Commits must not be fused.
    """
    done = self.passes.run(
      params,
      state,
      last.x_BFYXC[:, None],
      self.sampler.times(chunk, last.t_B),
      chunk.text_BWD[:, None],
      self.passes.view(state, state.bank, state.start_B),
      last.ranks_LBSR,
      False,
    )
    x = flow.x0_of_velocity(last.x_BFYXC, done.velocity_BFYXC, last.t_B)
    return hold(chunk, x), done.kept

  def close(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    output: ChunkOutput,
    kept: Kept | None,
  ) -> RolloutState:
    """The state after the chunk that `open` opened: it is committed.

    `kept` is what its last pass left; only `reuse` needs it.
    """
    x = output.latents_BFYXC
    if self.rollout.commit == 'reuse':
      state = self.passes.write(state, state.start_B, kept)
    elif state.pending is None:
      state = self._commit(params, state, chunk, x)
    else:
      pending = Pending(latents_BFYXC=x, text_BWD=chunk.text_BWD)
      state = state.replace(pending=pending)
    frame_JLBR = output.frame_JLBR
    frame_LBR = frame_JLBR.reshape(-1, *frame_JLBR.shape[2:])  # steps as layers
    state = state.replace(bank=bank_lib.count_use(state.bank, frame_LBR))
    return self._next(state, chunk, x)

  def commit(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    latents_BFYXC: jax.Array,
  ) -> RolloutState:
    """The state after a chunk that is given, not generated.

    A film may so begin with real frames: an image, a clip, a rendered film.
    """
    before, state = state, self._reserve(state, chunk)
    if before.pending is None:
      state = self._commit(params, state, chunk, latents_BFYXC)
    else:
      # what was pending has a pass of its own, and this chunk waits instead
      before = before.replace(start_B=before.start_B - self.passes.frames)
      kept = self.passes.clean(
        params, before, before.pending.text_BWD, before.pending.latents_BFYXC
      ).kept
      pending = Pending(latents_BFYXC=latents_BFYXC, text_BWD=chunk.text_BWD)
      state = self.passes.write(state, before.start_B, kept)
      state = state.replace(pending=pending)
    return self._next(state, chunk, latents_BFYXC)

  def _next(self, state, chunk, x) -> RolloutState:
    """Past this chunk."""
    recent = state.recent and state.recent.push(x, chunk.text_BWD)
    start_B = state.start_B + self.passes.frames
    return state.replace(start_B=start_B, recent=recent)

  def _reserve(self, state, chunk) -> RolloutState:
    shot_B = state.shot_B + (chunk.cut_B & (state.start_B > 0))
    return self.passes.take_slots(state.replace(shot_B=shot_B))

  def _commit(self, params, state, chunk, x) -> RolloutState:
    kept = self.passes.clean(params, state, chunk.text_BWD, x).kept
    return self.passes.write(state, state.start_B, kept)

  def _reencode(self, params, state) -> RolloutState:
    """A control: the window's keys and values as an empty bank makes them.

    They then know nothing older than the window: a look can no longer relay
    through them, chunk by chunk, from beyond it.
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
      alone = self.passes.take_slots(alone.replace(start_B=start_B))
      latents_BFYXC = state.recent.latents_BNFYXC[:, i]
      text_BWD = state.recent.text_BNWD[:, i]
      kept = self.passes.clean(params, alone, text_BWD, latents_BFYXC).kept
      alone = self.passes.write(alone, start_B, kept)
      state = self.passes.write(state, start_B, kept)
    return state

  def _denoise(
    self, params, state, chunk, start, first, grid_BJ, noise_JBFYXC, uneven
  ):
    """Steps from `first` on: the clean chunk, the pass that made it, what was
    routed, and what that pass leaves (None unless it is reused).

    `start` is what is known of them before; `uneven`: the grid may reach 0
    early.
    """
    view = self.passes.view(state, state.bank, state.start_B)

    def advance(j, carry):
      x, history, last, frame_JLBR = carry
      t_B = grid_BJ[:, j]
      done = self.passes.run(
        params,
        state,
        x[:, None],
        self.sampler.times(chunk, t_B),
        chunk.text_BWD[:, None],
        view,
        last.ranks_LBSR,
        (j == 0) | (self.memory.reroute == 'step'),
      )
      last = LastPass(x_BFYXC=x, t_B=t_B, ranks_LBSR=done.ranks)
      x, history = self.sampler.advance(
        chunk, j, x, done.velocity_BFYXC, history, grid_BJ, noise_JBFYXC
      )
      routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
      ended_B = (t_B == 0)[None, :, None]
      routed = jnp.where(ended_B, bank_lib.EMPTY, routed[:, :, 0])
      return (x, history, last, frame_JLBR.at[j].set(routed)), done.kept

    steps = (grid_BJ > 0).sum(-1).max() if uneven else self.sampler.steps
    kept, reuse = None, self.rollout.commit == 'reuse'
    carry = jax.lax.fori_loop(
      first, steps - reuse, lambda j, carry: advance(j, carry)[0], start
    )
    if reuse:  # only the last pass is worth carrying what it leaves
      carry, kept = advance(steps - 1, carry)
    x, _, last, frame_JLBR = carry
    return x, last, frame_JLBR, kept

  def _first_and_commit(
    self, params, state, before, chunk, x, history, grid_BJ, noise_JBFYXC
  ):
    """The packed pass: the pending chunk's commit and this one's first step.

    `before` is the bank as it stood before this chunk's slots were reserved.
    """
    clean_start_B = state.start_B - self.passes.frames
    view = router.join(
      self.passes.view(state, before, clean_start_B),
      self.passes.view(state, state.bank, state.start_B, pending=True),
    )
    t_B1F = self.sampler.times(chunk, grid_BJ[:, 0])
    done = self.passes.run(
      params,
      state,
      jnp.stack([state.pending.latents_BFYXC, x], 1),
      jnp.concatenate([jnp.zeros_like(t_B1F), t_B1F], 1),
      jnp.stack([state.pending.text_BWD, chunk.text_BWD], 1),
      view,
      None,
      True,
    )
    state = self.passes.write(state, clean_start_B, done.kept)
    x, history = self.sampler.advance(
      chunk, 0, x, done.velocity_BFYXC, history, grid_BJ, noise_JBFYXC
    )
    routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
    ranks = tuple(rank_LBSR[:, :, 1:] for rank_LBSR in done.ranks)
    return state, x, history, ranks, routed[:, :, 1]
