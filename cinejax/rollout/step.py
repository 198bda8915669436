"""One chunk of film: reserve, denoise, commit. Written once, for all uses.

  reserve   the slots the chunk will take are chosen, and hidden from then on
  denoise   J passes from noise; routing happens inside the layers
  commit    the clean chunk is run at t = 0 and its keys and values stored

`rollout.commit`: `separate` spends a pass on the commit (J + 1 passes);
`fused` lets the commit of chunk i ride with the first step of chunk i + 1 as
one packed pass [clean i | noisy i+1] (J passes), and leaves the last chunk
uncommitted. Both give the same film, because slots are reserved before, and
use is counted only in, the denoising passes.

Students may take more steps for a film's first chunk (`rollout.first_steps`),
and in training end a chunk early, at an exit step: both are said by a grid of
times that reaches 0 early, so that one executable serves all.

A chunk's first frame may be given, an image: it is then at t = 0 throughout,
while the others are denoised beside it (`ChunkInput.image_BYXC`).

With guidance there are two banks, v = u + w (c - u); the negative branch
takes the conditional one's routing unless `memory.cfg_routing` is `own`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow, solver, timesteps, unipc
from cinejax.diffusion.config import DiffusionConfig
from cinejax.memory import bank as bank_lib
from cinejax.memory import evict, router
from cinejax.memory.config import MemoryConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.state import (
  ChunkInput,
  ChunkOutput,
  LastPass,
  Pending,
  RolloutState,
)


class _Pass(NamedTuple):
  """One guided pass; tuples hold the conditional branch, then the negative."""

  velocity_BFYXC: jax.Array
  kept: tuple[Any, ...]  # keys and values of every segment
  ranks: tuple[jax.Array, ...]  # [L, B, S, R] routed


@dataclasses.dataclass(frozen=True, eq=False)  # hashed by identity, for jit
class Step:
  """step(params, state, chunk) -> (state, output), pure and scannable."""

  denoise_fn: Callable[..., Any]  # models.denoiser's, or of its signature
  memory: MemoryConfig
  diffusion: DiffusionConfig
  rollout: RolloutConfig
  latent_shape: tuple[int, int, int, int]  # F, Y, X, C of a chunk
  negative_text_WD: jax.Array | np.ndarray

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
    grid_BJ = self._grid(state, exit_step)
    noise_JBFYXC = self._noise(state)
    x = _hold(chunk, noise_JBFYXC[0])
    last = LastPass(
      x_BFYXC=x, t_B=grid_BJ[:, 0], ranks_LBSR=self._no_ranks(state)
    )
    first, routed = 0, self._none_routed(state)
    history = unipc.no_history(x) if self.rollout.sampler == 'unipc' else None
    if state.pending is not None:
      state, x, history, ranks, frame_LBR = self._first_and_commit(
        params, state, before, chunk, x, history, grid_BJ, noise_JBFYXC
      )
      last, routed = last.replace(ranks_LBSR=ranks), routed.at[0].set(frame_LBR)
      first = 1
    x, last, frame_JLBR = self._denoise(
      params,
      state,
      chunk,
      (x, history, last, routed),
      first,
      grid_BJ,
      noise_JBFYXC,
      uneven=exit_step is not None or bool(self.rollout.first_steps),
    )
    output = ChunkOutput(latents_BFYXC=x, frame_JLBR=frame_JLBR)
    return self.close(params, state, chunk, output), output, last

  def open(
    self, params: Any, state: RolloutState, chunk: ChunkInput
  ) -> RolloutState:
    """The state as the passes of the next chunk see it."""
    return self._reserve(self._reencode(params, state), chunk)

  def predict(
    self, params: Any, state: RolloutState, chunk: ChunkInput, last: LastPass
  ) -> jax.Array:
    """The chunk [B, F, Y, X, C] that the pass `last` made, made again.

    `state` is as `open` gives it. Commits must be separate.
    """
    view = self._view(state, state.bank, state.start_B)
    done = self._pass(
      params,
      state,
      last.x_BFYXC[:, None],
      self._times(chunk, last.t_B),
      chunk.text_BWD[:, None],
      view,
      last.ranks_LBSR,
      False,
    )
    x = flow.x0_of_velocity(last.x_BFYXC, done.velocity_BFYXC, last.t_B)
    return _hold(chunk, x)

  def close(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    output: ChunkOutput,
  ) -> RolloutState:
    """The state after the chunk that `open` opened: it is committed."""
    x = output.latents_BFYXC
    if state.pending is None:
      state = self._commit(params, state, chunk, x)
    else:
      pending = Pending(latents_BFYXC=x, text_BWD=chunk.text_BWD)
      state = state.replace(pending=pending)
    frame_LBR = jnp.concatenate(list(output.frame_JLBR), 0)
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
      before = before.replace(start_B=before.start_B - self._frames)
      kept = self._clean_pass(
        params, before, before.pending.text_BWD, before.pending.latents_BFYXC
      ).kept
      pending = Pending(latents_BFYXC=latents_BFYXC, text_BWD=chunk.text_BWD)
      state = self._write(state, before.start_B, kept).replace(pending=pending)
    return self._next(state, chunk, latents_BFYXC)

  def _next(self, state, chunk, x) -> RolloutState:
    """Past this chunk."""
    recent = state.recent and state.recent.push(x, chunk.text_BWD)
    return state.replace(start_B=state.start_B + self._frames, recent=recent)

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
      start_B = state.start_B - (chunks - i) * self._frames
      alone = self._take_slots(alone.replace(start_B=start_B))
      latents_BFYXC = state.recent.latents_BNFYXC[:, i]
      text_BWD = state.recent.text_BNWD[:, i]
      kept = self._clean_pass(params, alone, text_BWD, latents_BFYXC).kept
      alone = self._write(alone, start_B, kept)
      state = self._write(state, start_B, kept)
    return state

  @property
  def _frames(self) -> int:
    return self.latent_shape[0]

  @property
  def _steps(self) -> int:
    """J, of the chunk that takes most."""
    return max(self.rollout.steps, self.rollout.first_steps)

  def _grid(self, state, exit_step) -> jax.Array:
    """[B, J + 1] times of each film's chunk, and zeros once it is clean.

    A step from 0 to 0 changes nothing, so films of a batch may differ.
    """
    few = self.rollout.sampler == 'few_step'
    make = timesteps.student_grid if few else timesteps.euler_grid

    def padded(steps):
      grid = make(steps, self.diffusion.shift)
      return jnp.asarray(np.pad(grid, (0, self._steps - steps)))[None]

    grid_BJ = jnp.repeat(padded(self.rollout.steps), len(state.start_B), 0)
    if self.rollout.first_steps:
      opening_B1 = (state.start_B == 0)[:, None]
      grid_BJ = jnp.where(opening_B1, padded(self.rollout.first_steps), grid_BJ)
    if exit_step is None:
      return grid_BJ
    return jnp.where(jnp.arange(self._steps + 1)[None] <= exit_step, grid_BJ, 0)

  def _times(self, chunk, t_B) -> jax.Array:
    """[B, 1, F] of one segment; a given frame is clean."""
    t_B1F = jnp.repeat(t_B[:, None, None], self._frames, 2)
    return t_B1F if chunk.image_BYXC is None else t_B1F.at[:, :, 0].set(0)

  def _noise(self, state) -> jax.Array:
    """[J, B, F, Y, X, C]: the start, then what each later step renoises with.

    A film's noise depends on its own key and frame alone, not on its batch.
    """
    fresh = self._steps if self.rollout.sampler == 'few_step' else 1

    def draw(key, start):
      return jax.random.normal(
        jax.random.fold_in(key, start), (fresh, *self.latent_shape)
      )

    return jax.vmap(draw, out_axes=1)(state.key_B, state.start_B)

  def _view(self, state, bank, start_B, pending=False) -> router.View:
    def draw(key, start):  # one draw a chunk, the same in all its passes
      key = jax.random.fold_in(jax.random.fold_in(key, 1), start)
      return jax.random.uniform(key, bank.frame_BE.shape[1:])

    random = self.memory.policy == 'random'
    return router.bank_view(
      bank,
      start_B,
      frames=self._frames,
      window=self.memory.window_frames,
      routed=self.memory.context_frames,
      policy=self.memory.policy,
      pending=pending,
      noise_BE=jax.vmap(draw)(state.key_B, start_B) if random else None,
    )

  def _reserve(self, state, chunk) -> RolloutState:
    shot_B = state.shot_B + (chunk.cut_B & (state.start_B > 0))
    return self._take_slots(state.replace(shot_B=shot_B))

  def _take_slots(self, state) -> RolloutState:
    """Both banks keep the same frames in the same slots."""
    slot_BF = evict.choose_slots(
      state.bank,
      state.start_B,
      frames=self._frames,
      window=self.memory.window_frames,
      evict=self.memory.evict,
    )
    bank, negative = (
      bank and bank_lib.reserve(bank, slot_BF, state.start_B, state.shot_B)
      for bank in (state.bank, state.negative)
    )
    return state.replace(bank=bank, negative=negative)

  def _no_ranks(self, state) -> tuple[jax.Array, ...]:
    """Something to carry before anything was routed."""
    layers, batch, slots = state.bank.memory.descriptor.shape[:3]
    ranks = jnp.full(
      (layers, batch, 1, self.memory.context_frames), slots, jnp.int32
    )
    return (ranks,) if state.negative is None else (ranks, ranks)

  def _pass(
    self, params, state, x_BSFYXC, t_BSF, text_BSWD, view, ranks, decide
  ) -> _Pass:
    """Both branches, and guidance between them."""
    c = self.denoise_fn(
      params,
      x_BSFYXC,
      t_BSF,
      text_BSWD,
      state.bank.memory,
      view,
      None if ranks is None else ranks[0],
      decide,
    )
    if state.negative is None:
      return _Pass(c.velocity_BFYXC, (c,), (c.rank_LBSR,))
    given, decide_own = c.rank_LBSR, False
    if self.memory.cfg_routing == 'own':
      given, decide_own = None if ranks is None else ranks[1], decide
    u = self.denoise_fn(
      params,
      x_BSFYXC,
      t_BSF,
      jnp.broadcast_to(self.negative_text_WD[None, None], text_BSWD.shape),
      state.negative.memory,
      view,
      given,
      decide_own,
    )
    w = self.rollout.guidance
    velocity = u.velocity_BFYXC + w * (c.velocity_BFYXC - u.velocity_BFYXC)
    return _Pass(velocity, (c, u), (c.rank_LBSR, u.rank_LBSR))

  def _none_routed(self, state) -> jax.Array:
    """[J, L, B, R], for steps that are not run."""
    layers, batch = state.bank.memory.descriptor.shape[:2]
    shape = (self._steps, layers, batch, self.memory.context_frames)
    return jnp.full(shape, bank_lib.EMPTY, jnp.int32)

  def _advance(self, chunk, j, x, v, history, grid_BJ, noise_JBFYXC):
    """Step j by the sampler: (x at the next time, the sampler's history)."""
    t_B, next_B = grid_BJ[:, j], grid_BJ[:, j + 1]
    match self.rollout.sampler:
      case 'few_step':
        # The last step goes to t = 0, where no noise is added: any will do.
        noise = noise_JBFYXC[(j + 1) % len(noise_JBFYXC)]
        x = solver.few_step(x, v, t_B, next_B, noise)
      case 'unipc':
        grid_J = timesteps.euler_grid(self.rollout.steps, self.diffusion.shift)
        row_C = jnp.asarray(unipc.table(grid_J))[j]
        x, history = unipc.step(x, v, t_B, history, row_C)
      case _:
        x = solver.euler_step(x, v, t_B, next_B)
    return _hold(chunk, x), history

  def _denoise(
    self, params, state, chunk, start, first, grid_BJ, noise_JBFYXC, uneven
  ):
    """Steps from `first` on; returns the clean chunk, the pass that made it,
    and what was routed. `start` is what is known of them before; `uneven`:
    the grid may reach 0 early."""
    view = self._view(state, state.bank, state.start_B)

    def body(j, carry):
      x, history, last, frame_JLBR = carry
      t_B = grid_BJ[:, j]
      done = self._pass(
        params,
        state,
        x[:, None],
        self._times(chunk, t_B),
        chunk.text_BWD[:, None],
        view,
        last.ranks_LBSR,
        (j == 0) | (self.memory.reroute == 'step'),
      )
      last = LastPass(x_BFYXC=x, t_B=t_B, ranks_LBSR=done.ranks)
      x, history = self._advance(
        chunk, j, x, done.velocity_BFYXC, history, grid_BJ, noise_JBFYXC
      )
      routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
      ended_B = (t_B == 0)[None, :, None]
      routed = jnp.where(ended_B, bank_lib.EMPTY, routed[:, :, 0])
      return x, history, last, frame_JLBR.at[j].set(routed)

    steps = (grid_BJ > 0).sum(-1).max() if uneven else self._steps
    x, _, last, frame_JLBR = jax.lax.fori_loop(first, steps, body, start)
    return x, last, frame_JLBR

  def _first_and_commit(
    self, params, state, before, chunk, x, history, grid_BJ, noise_JBFYXC
  ):
    """The packed pass: the pending chunk's commit and this one's first step.

    `before` is the bank as it stood before this chunk's slots were reserved.
    """
    frames = self._frames
    clean_start_B = state.start_B - frames
    view = router.join(
      self._view(state, before, clean_start_B),
      self._view(state, state.bank, state.start_B, pending=True),
    )
    t_B1F = self._times(chunk, grid_BJ[:, 0])
    done = self._pass(
      params,
      state,
      jnp.stack([state.pending.latents_BFYXC, x], 1),
      jnp.concatenate([jnp.zeros_like(t_B1F), t_B1F], 1),
      jnp.stack([state.pending.text_BWD, chunk.text_BWD], 1),
      view,
      None,
      True,
    )
    state = self._write(state, clean_start_B, done.kept)
    x, history = self._advance(
      chunk, 0, x, done.velocity_BFYXC, history, grid_BJ, noise_JBFYXC
    )
    routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
    ranks = tuple(rank_LBSR[:, :, 1:] for rank_LBSR in done.ranks)
    return state, x, history, ranks, routed[:, :, 1]

  def _commit(self, params, state, chunk, x) -> RolloutState:
    done = self._clean_pass(params, state, chunk.text_BWD, x)
    return self._write(state, state.start_B, done.kept)

  def _clean_pass(self, params, state, text_BWD, x) -> _Pass:
    """The chunk at t = 0, routed by its own queries."""
    return self._pass(
      params,
      state,
      x[:, None],
      jnp.zeros((x.shape[0], 1, self._frames)),
      text_BWD[:, None],
      self._view(state, state.bank, state.start_B),
      None,
      True,
    )

  def _write(self, state, start_B, kept) -> RolloutState:
    """Stores the first segment's keys and values of each branch."""

    def write(bank, of):
      k, v = (
        x[:, :, 0].reshape(*x.shape[:2], self._frames, -1, *x.shape[-2:])
        for x in (of.key_LBSTHK, of.value_LBSTHK)
      )
      return bank_lib.write(bank, start_B, k, v)

    bank = write(state.bank, kept[0])
    negative = state.negative and write(state.negative, kept[1])
    return state.replace(bank=bank, negative=negative)


def _hold(chunk: ChunkInput, x_BFYXC: jax.Array) -> jax.Array:
  """With the first frame that is given, if one is."""
  if chunk.image_BYXC is None:
    return x_BFYXC
  return x_BFYXC.at[:, 0].set(chunk.image_BYXC)
