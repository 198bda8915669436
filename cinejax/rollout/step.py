"""One chunk of film: reserve, denoise, commit. Written once, for all uses.

  reserve   the slots the chunk will take are chosen, and hidden from then on
  denoise   J passes from noise; routing happens inside the layers
  commit    the clean chunk is run at t = 0 and its keys and values stored

`rollout.commit`: `separate` spends a pass on the commit (J + 1 passes);
`fused` lets the commit of chunk i ride with the first step of chunk i + 1 as
one packed pass [clean i | noisy i+1] (J passes), and leaves the last chunk
uncommitted. Both give the same film, because slots are reserved before, and
use is counted only in, the denoising passes.

With guidance there are two banks, v = u + w (c - u); the negative branch
takes the conditional one's routing unless `memory.cfg_routing` is `own`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import solver, timesteps
from cinejax.diffusion.config import DiffusionConfig
from cinejax.memory import bank as bank_lib
from cinejax.memory import evict, router
from cinejax.memory.config import MemoryConfig
from cinejax.rollout.config import RolloutConfig
from cinejax.rollout.state import (
  ChunkInput,
  ChunkOutput,
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
    state = self._reencode(params, state)
    grid_J = self._grid()
    noise_JBFYXC = self._noise(state)
    shot_B = state.shot_B + (chunk.cut_B & (state.start_B > 0))
    before = state.bank
    state = self._reserve(state, shot_B)

    x, routed = noise_JBFYXC[0], []
    ranks, first = self._no_ranks(state), 0
    if state.pending is not None:
      state, x, ranks, frame_LBR = self._first_and_commit(
        params, state, before, chunk, x, grid_J, noise_JBFYXC
      )
      first, routed = 1, [frame_LBR[None]]
    x, frame_JLBR = self._denoise(
      params, state, chunk, x, ranks, first, grid_J, noise_JBFYXC
    )
    frame_JLBR = jnp.concatenate([*routed, frame_JLBR])

    if state.pending is None:
      state = self._commit(params, state, chunk, x)
    else:
      pending = Pending(latents_BFYXC=x, text_BWD=chunk.text_BWD)
      state = state.replace(pending=pending)
    bank = bank_lib.count_use(state.bank, jnp.concatenate(list(frame_JLBR), 0))
    state = state.replace(bank=bank)
    return self._next(state, chunk, x, shot_B), ChunkOutput(
      latents_BFYXC=x, frame_JLBR=frame_JLBR
    )

  def commit(
    self,
    params: Any,
    state: RolloutState,
    chunk: ChunkInput,
    latents_BFYXC: jax.Array,
  ) -> RolloutState:
    """The state after a chunk that is given, not generated.

    A film may so begin with real frames: an image, a clip, a rendered film.
    Commits must be separate (state.pending is None).
    """
    shot_B = state.shot_B + (chunk.cut_B & (state.start_B > 0))
    state = self._reserve(state, shot_B)
    state = self._commit(params, state, chunk, latents_BFYXC)
    return self._next(state, chunk, latents_BFYXC, shot_B)

  def _next(self, state, chunk, x, shot_B) -> RolloutState:
    """Past this chunk."""
    recent = state.recent and state.recent.push(x, chunk.text_BWD)
    start_B = state.start_B + self._frames
    return state.replace(start_B=start_B, shot_B=shot_B, recent=recent)

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
      alone = self._reserve(alone.replace(start_B=start_B), alone.shot_B)
      latents_BFYXC = state.recent.latents_BNFYXC[:, i]
      text_BWD = state.recent.text_BNWD[:, i]
      kept = self._clean_pass(params, alone, text_BWD, latents_BFYXC).kept
      alone = self._write(alone, start_B, kept)
      state = self._write(state, start_B, kept)
    return state

  @property
  def _frames(self) -> int:
    return self.latent_shape[0]

  def _grid(self) -> np.ndarray:
    few = self.rollout.sampler == 'few_step'
    make = timesteps.student_grid if few else timesteps.euler_grid
    return make(self.rollout.steps, self.diffusion.shift)

  def _noise(self, state) -> jax.Array:
    """[J, B, F, Y, X, C]: the start, then what each later step renoises with.

    A film's noise depends on its own key and frame alone, not on its batch.
    """
    fresh = self.rollout.steps if self.rollout.sampler == 'few_step' else 1

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

  def _reserve(self, state, shot_B) -> RolloutState:
    """Both banks keep the same frames in the same slots."""
    slot_BF = evict.choose_slots(
      state.bank,
      state.start_B,
      frames=self._frames,
      window=self.memory.window_frames,
      evict=self.memory.evict,
    )
    bank, negative = (
      bank and bank_lib.reserve(bank, slot_BF, state.start_B, shot_B)
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

  def _advance(self, x, v, t, t_next, noise):
    t, t_next = (jnp.full(x.shape[:1], time) for time in (t, t_next))
    if self.rollout.sampler == 'few_step':
      return solver.few_step(x, v, t, t_next, noise)
    return solver.euler_step(x, v, t, t_next)

  def _denoise(
    self, params, state, chunk, x, ranks, first, grid_J, noise_JBFYXC
  ):
    """Steps `first` to J; returns the clean chunk and what was routed."""
    view = self._view(state, state.bank, state.start_B)
    few = self.rollout.sampler == 'few_step'

    def body(carry, step):
      x, ranks = carry
      t, t_next, j = step
      decide = (j == 0) | (self.memory.reroute == 'step')
      done = self._pass(
        params,
        state,
        x[:, None],
        jnp.full((x.shape[0], 1, self._frames), t),
        chunk.text_BWD[:, None],
        view,
        ranks,
        decide,
      )
      # The last step goes to t = 0, where no noise is added: any will do.
      noise = noise_JBFYXC[(j + 1) % len(noise_JBFYXC)] if few else None
      x = self._advance(x, done.velocity_BFYXC, t, t_next, noise)
      routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
      return (x, done.ranks), routed[:, :, 0]

    steps = (
      grid_J[first:-1],
      grid_J[first + 1 :],
      np.arange(first, len(grid_J) - 1),
    )
    (x, _), frame_JLBR = jax.lax.scan(
      body, (x, ranks), jax.tree.map(jnp.asarray, steps)
    )
    return x, frame_JLBR

  def _first_and_commit(
    self, params, state, before, chunk, x, grid_J, noise_JBFYXC
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
    t_BF = jnp.full((x.shape[0], frames), grid_J[0])
    done = self._pass(
      params,
      state,
      jnp.stack([state.pending.latents_BFYXC, x], 1),
      jnp.stack([jnp.zeros_like(t_BF), t_BF], 1),
      jnp.stack([state.pending.text_BWD, chunk.text_BWD], 1),
      view,
      None,
      True,
    )
    state = self._write(state, clean_start_B, done.kept)
    noise = noise_JBFYXC[1 % len(noise_JBFYXC)]
    x = self._advance(x, done.velocity_BFYXC, grid_J[0], grid_J[1], noise)
    routed = jax.vmap(router.routed_frames, (None, 0))(view, done.ranks[0])
    ranks = tuple(rank_LBSR[:, :, 1:] for rank_LBSR in done.ranks)
    return state, x, ranks, routed[:, :, 1]

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
