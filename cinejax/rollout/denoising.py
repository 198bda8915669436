"""The loop over the denoising steps of one chunk."""

import dataclasses
from typing import Any

import chex
import jax
import jax.numpy as jnp

from cinejax.diffusion import unipc
from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.rollout.passes import Branches, Passes, Shared
from cinejax.rollout.sampler import Sampler, Schedule, with_given_frame
from cinejax.rollout.state import ChunkInput, LastPass, RolloutState


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Progress:
  """A chunk between two of its denoising steps."""

  x_BFYXC: jax.Array
  history: unipc.History | None  # of the sampler, where it has one
  last: LastPass  # the latest pass; before the first, its ranks are empty
  frame_JLBR: jax.Array  # int32, frames routed so far; EMPTY elsewhere
  contexts: tuple[Any, ...] = ()  # as in Shared


@dataclasses.dataclass(frozen=True, eq=False)
class DenoisingLoop:
  """Takes a chunk from noise to film; used by `Step` alone."""

  passes: Passes
  sampler: Sampler

  def begin(
    self, state: RolloutState, chunk: ChunkInput, schedule: Schedule
  ) -> Progress:
    """The chunk before its first step: noise, and nothing routed."""
    x = with_given_frame(chunk, schedule.noise_JBFYXC[0])
    return Progress(
      x_BFYXC=x,
      history=self.sampler.history(x),
      last=LastPass(
        x_BFYXC=x,
        t_B=schedule.grid_BJ[:, 0],
        ranks_LBSR=self.passes.no_ranks(state),
      ),
      frame_JLBR=self.passes.none_routed(state, self.sampler.steps),
    )

  def first_and_commit(
    self,
    params: Any,
    state: RolloutState,
    before: bank_lib.Bank,
    chunk: ChunkInput,
    progress: Progress,
    schedule: Schedule,
  ) -> tuple[RolloutState, Progress]:
    """The packed pass: commits the pending chunk and takes this one's first
    step.

    `before` is the bank before this chunk's slots were reserved.
    """
    clean_start_B = state.start_B - self.passes.frames
    view = router.join(
      self.passes.view(state, before, clean_start_B),
      self.passes.view(state, state.bank, state.start_B, pending=True),
    )
    t_B1F = self.sampler.times(chunk, schedule.grid_BJ[:, 0])
    done = self.passes.run(
      params,
      state,
      jnp.stack([state.pending.latents_BFYXC, progress.x_BFYXC], 1),
      jnp.concatenate([jnp.zeros_like(t_B1F), t_B1F], 1),
      self.passes.read_text(
        params, state, jnp.stack([state.pending.text_BWD, chunk.text_BWD], 1)
      ),
      view,
      None,
      True,
    )
    state = self.passes.write(state, clean_start_B, done.branches)
    x, history = self.sampler.advance(
      chunk,
      0,
      progress.x_BFYXC,
      done.velocity_BFYXC,
      progress.history,
      schedule,
    )
    routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
    ranks = tuple(rank_LBSR[:, :, 1:] for rank_LBSR in done.ranks)
    return state, Progress(
      x_BFYXC=x,
      history=history,
      last=progress.last.replace(ranks_LBSR=ranks),
      frame_JLBR=progress.frame_JLBR.at[0].set(routed[:, :, 1]),
    )

  def run(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    progress: Progress,
    schedule: Schedule,
    first: int,
    uneven: bool,
  ) -> tuple[Progress, Branches | None, Shared]:
    """Runs the steps from `first` on.

    Returns also what the last pass returned, for `reuse`, else None; and what a
    commit shares with the passes. With `uneven`, the grid may reach 0 before
    its end.
    """
    view = self.passes.view(state, state.bank, state.start_B)
    shared = self.passes.read_text(params, state, chunk.text_BWD[:, None])
    captions, contexts = self.passes.read_window(
      params, state, progress.x_BFYXC, view, shared
    )
    progress = progress.replace(contexts=contexts)

    def advance(j, at: Progress) -> tuple[Progress, Branches]:
      t_B = schedule.grid_BJ[:, j]
      done = self.passes.run(
        params,
        state,
        at.x_BFYXC[:, None],
        self.sampler.times(chunk, t_B),
        Shared(captions, at.contexts),
        view,
        at.last.ranks_LBSR,
        (j == 0) | (self.passes.memory.reroute == 'step'),
      )
      last = LastPass(x_BFYXC=at.x_BFYXC, t_B=t_B, ranks_LBSR=done.ranks)
      x, history = self.sampler.advance(
        chunk, j, at.x_BFYXC, done.velocity_BFYXC, at.history, schedule
      )
      routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
      ended_B = (t_B == 0)[None, :, None]
      routed = jnp.where(ended_B, bank_lib.EMPTY, routed[:, :, 0])
      frame_JLBR = at.frame_JLBR.at[j].set(routed)
      made = Progress(
        x_BFYXC=x,
        history=history,
        last=last,
        frame_JLBR=frame_JLBR,
        contexts=done.contexts,
      )
      return made, done.branches

    steps = self.sampler.steps
    if uneven:
      steps = (schedule.grid_BJ > 0).sum(-1).max()
    branches, reuse = None, self.sampler.rollout.commit == 'reuse'
    progress = jax.lax.fori_loop(
      first, steps - reuse, lambda j, at: advance(j, at)[0], progress
    )
    if reuse:  # outside the loop, so that it carries no keys and values
      progress, branches = advance(steps - 1, progress)
    return progress, branches, Shared(captions, progress.contexts)
