"""One pass of the network over the bank: what it sees, and what it leaves.

With guidance there are two banks, v = u + w (c - u), which keep the same
frames in the same slots; the negative branch takes the conditional one's
routing unless `memory.cfg_routing` is `own`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.memory import bank as bank_lib
from cinejax.memory import evict, router
from cinejax.memory.config import SINKS, MemoryConfig
from cinejax.rollout.state import RolloutState


class Pass(NamedTuple):
  """What a pass gives; tuples hold the conditional branch, then the other."""

  velocity_BFYXC: jax.Array  # guided
  kept: tuple[Any, ...]  # keys and values of every segment
  ranks: tuple[jax.Array, ...]  # [L, B, S, R] routed


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
  denoise_fn: Callable[..., Any]  # models.denoiser's, or of its signature
  memory: MemoryConfig
  frames: int  # F
  guidance: float  # w
  negative_text_WD: jax.Array | np.ndarray

  def run(
    self,
    params: Any,
    state: RolloutState,
    x_BSFYXC: jax.Array,
    t_BSF: jax.Array,
    text_BSWD: jax.Array,
    view: router.View,
    ranks: tuple[jax.Array, ...] | None,
    decide: jax.Array | bool,
  ) -> Pass:
    """Both branches, and guidance between them.

    `ranks` are taken where `decide` is False; None: always decide.
    """
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
      return Pass(c.velocity_BFYXC, (c,), (c.rank_LBSR,))
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
    velocity = u.velocity_BFYXC + self.guidance * (
      c.velocity_BFYXC - u.velocity_BFYXC
    )
    return Pass(velocity, (c, u), (c.rank_LBSR, u.rank_LBSR))

  def clean(
    self,
    params: Any,
    state: RolloutState,
    text_BWD: jax.Array,
    x_BFYXC: jax.Array,
  ) -> Pass:
    """The chunk at t = 0, routed by its own queries."""
    return self.run(
      params,
      state,
      x_BFYXC[:, None],
      jnp.zeros((x_BFYXC.shape[0], 1, self.frames)),
      text_BWD[:, None],
      self.view(state, state.bank, state.start_B),
      None,
      True,
    )

  def view(
    self,
    state: RolloutState,
    bank: bank_lib.Bank,
    start_B: jax.Array,
    pending: bool = False,
  ) -> router.View:
    """What a chunk that starts at frame start_B may see of `bank`."""

    def draw(key, start):  # one draw a chunk, the same in all its passes
      key = jax.random.fold_in(jax.random.fold_in(key, 1), start)
      return jax.random.uniform(key, bank.frame_BE.shape[1:])

    random = self.memory.policy == 'random'
    return router.bank_view(
      bank,
      start_B,
      frames=self.frames,
      window=self.memory.window_frames,
      routed=self.memory.context_frames,
      policy=self.memory.policy,
      pending=pending,
      noise_BE=jax.vmap(draw)(state.key_B, start_B) if random else None,
    )

  def no_ranks(self, state: RolloutState) -> tuple[jax.Array, ...]:
    """Something to carry before anything was routed."""
    layers, batch, slots = state.bank.memory.descriptor.shape[:3]
    ranks = jnp.full(
      (layers, batch, 1, self.memory.context_frames), slots, jnp.int32
    )
    return (ranks,) if state.negative is None else (ranks, ranks)

  def none_routed(self, state: RolloutState, steps: int) -> jax.Array:
    """[J, L, B, R], for steps that are not run."""
    layers, batch = state.bank.memory.descriptor.shape[:2]
    shape = (steps, layers, batch, self.memory.context_frames)
    return jnp.full(shape, bank_lib.EMPTY, jnp.int32)

  def take_slots(self, state: RolloutState) -> RolloutState:
    """Chooses where the chunk at state.start_B will go, and hides it."""
    kept_BE = None
    if self.memory.policy in SINKS:
      view = self.view(state, state.bank, state.start_B, pending=True)
      routed = self.memory.context_frames
      kept_BE = router.routed_slots(view, routed=routed)[:, 0]
    slot_BF = evict.choose_slots(
      state.bank,
      state.start_B,
      frames=self.frames,
      window=self.memory.window_frames,
      evict=self.memory.evict,
      kept_BE=kept_BE,
    )
    bank, negative = (
      bank and bank_lib.reserve(bank, slot_BF, state.start_B, state.shot_B)
      for bank in (state.bank, state.negative)
    )
    return state.replace(bank=bank, negative=negative)

  def write(
    self, state: RolloutState, start_B: jax.Array, kept: tuple[Any, ...]
  ) -> RolloutState:
    """Stores the first segment's keys and values of each branch."""

    def write(bank, of):
      k, v = (
        x[:, :, 0].reshape(*x.shape[:2], self.frames, -1, *x.shape[-2:])
        for x in (of.key_LBSTHK, of.value_LBSTHK)
      )
      return bank_lib.write(bank, start_B, k, v)

    bank = write(state.bank, kept[0])
    negative = state.negative and write(state.negative, kept[1])
    return state.replace(bank=bank, negative=negative)
