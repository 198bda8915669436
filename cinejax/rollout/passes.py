"""One pass of the network over the bank: what it reads and what it writes.

With classifier-free guidance, v = u + w (c - u), there are two branches: the
conditional one, under the film's prompts, and the negative one. Each has a
bank; both banks hold the same frames in the same slots. The negative branch
takes the routing of the conditional one unless `memory.cfg_routing` is `own`.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.memory import archive, evict, router
from cinejax.memory import bank as bank_lib
from cinejax.memory.config import SINKS, MemoryConfig
from cinejax.models.rollout_pass import DenoiserOutput
from cinejax.rollout.state import RolloutState

# what the network returns for the conditional branch and, with guidance, for
# the negative one
Branches = tuple[DenoiserOutput, ...]


class PassOutput(NamedTuple):
  """The result of one pass, of both branches where there are two."""

  velocity_BFYXC: jax.Array  # guided
  branches: Branches  # with the keys and values that a commit stores

  @property
  def ranks(self) -> tuple[jax.Array, ...]:
    """The ranks [L, B, S, R] that each branch routed."""
    return tuple(branch.rank_LBSR for branch in self.branches)

  @property
  def contexts(self) -> tuple[Any, ...]:
    """What each branch read, for the next pass over the same chunk."""
    return tuple(branch.contexts for branch in self.branches)


class Shared(NamedTuple):
  """What all passes over a chunk read, of each branch."""

  captions: tuple[Any, ...]  # of Step.caption_fn
  contexts: tuple[Any, ...]  # of the latest pass, and first of Step.context_fn


def text_as_it_is(params: Any, text_BSWD: jax.Array) -> jax.Array:
  """A caption_fn that leaves the reading of captions to each pass."""
  return text_BSWD


def no_context(*_: Any) -> None:
  """A context_fn with which each pass reads the whole context."""
  return None


@dataclasses.dataclass(frozen=True, eq=False)
class Passes:
  """Runs the network over the state of a rollout, and updates its banks."""

  denoise_fn: Callable[
    ..., DenoiserOutput
  ]  # with the signature of models.rollout_pass's
  memory: MemoryConfig
  frames: int  # F
  guidance: float  # w
  negative_text_WD: jax.Array | np.ndarray
  caption_fn: Callable[..., Any] = text_as_it_is
  context_fn: Callable[..., Any] = no_context

  def run(
    self,
    params: Any,
    state: RolloutState,
    x_BSFYXC: jax.Array,
    t_BSF: jax.Array,
    shared: Shared,
    view: router.View,
    ranks: tuple[jax.Array, ...] | None,
    decide: jax.Array | bool,
  ) -> PassOutput:
    """Runs each branch, and applies guidance if there are two.

    Where `decide` is False, `ranks` are taken instead of routing again; they
    may be None where it is True.
    """

    def branch(index, bank, given, decide):
      contexts = shared.contexts[index]
      return self.denoise_fn(
        params,
        x_BSFYXC,
        t_BSF,
        shared.captions[index],
        bank.memory,
        view,
        given,
        decide,
        *(() if contexts is None else (contexts,)),
      )

    c = branch(0, state.bank, None if ranks is None else ranks[0], decide)
    if state.negative is None:
      return PassOutput(c.velocity_BFYXC, (c,))
    given, decide_own = c.rank_LBSR, False
    if self.memory.cfg_routing == 'own':
      given, decide_own = None if ranks is None else ranks[1], decide
    u = branch(1, state.negative, given, decide_own)
    velocity = u.velocity_BFYXC + self.guidance * (
      c.velocity_BFYXC - u.velocity_BFYXC
    )
    return PassOutput(velocity, (c, u))

  def read_text(
    self, params: Any, state: RolloutState, text_BSWD: jax.Array
  ) -> Shared:
    """What passes share that read these captions, without contexts."""
    texts = [text_BSWD]
    if state.negative is not None:
      negative_11WD = self.negative_text_WD[None, None]
      texts.append(jnp.broadcast_to(negative_11WD, text_BSWD.shape))
    captions = tuple(self.caption_fn(params, text) for text in texts)
    return Shared(captions, (None,) * len(captions))

  def read_window(
    self,
    params: Any,
    state: RolloutState,
    x_BFYXC: jax.Array,
    view: router.View,
    shared: Shared,
  ) -> Shared:
    """`shared` with the contexts before the first pass over a chunk."""
    banks = [bank for bank in (state.bank, state.negative) if bank is not None]
    return shared._replace(
      contexts=tuple(
        self.context_fn(params, x_BFYXC[:, None], bank.memory, view)
        for bank in banks
      )
    )

  def clean(
    self,
    params: Any,
    state: RolloutState,
    text_BWD: jax.Array,
    x_BFYXC: jax.Array,
    shared: Shared | None = None,
  ) -> PassOutput:
    """Runs the clean chunk at t = 0, which routes by its own queries.

    `shared` is that of the passes which made the chunk; None: there is none.
    """
    return self.run(
      params,
      state,
      x_BFYXC[:, None],
      jnp.zeros((x_BFYXC.shape[0], 1, self.frames)),
      shared or self.read_text(params, state, text_BWD[:, None]),
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
    """What a chunk that starts at frame start_B may see of `bank`.

    With `pending`, the chunk before it counts as committed.
    """

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
    """The ranks of each branch before the first pass: none is routed."""
    layers, batch, slots, heads, _ = state.bank.memory.descriptor.shape
    shape = (layers, batch, 1, self.memory.choices(heads))
    ranks = jnp.full(shape, slots, jnp.int32)
    return (ranks,) if state.negative is None else (ranks, ranks)

  def none_routed(self, state: RolloutState, steps: int) -> jax.Array:
    """Routed frames [J, L, B, R] of steps that were not run: all EMPTY."""
    layers, batch, _, heads, _ = state.bank.memory.descriptor.shape
    shape = (steps, layers, batch, self.memory.choices(heads))
    return jnp.full(shape, bank_lib.EMPTY, jnp.int32)

  def reserve_slots(
    self, state: RolloutState, picture: jax.Array | None = None
  ) -> RolloutState:
    """Chooses slots for the chunk at state.start_B, and hides their content.

    With `picture` (int32 []), the slots are for the given picture of that
    number, which is a shot of its own.
    """
    protected_BE = None
    if self.memory.policy in SINKS:
      view = self.view(state, state.bank, state.start_B, pending=True)
      routed = self.memory.context_frames
      if self.memory.policy == 'rag':
        routed = min(1, routed)  # the first frame; the others change
      protected_BE = router.routed_slots(view, routed=routed)[:, 0]
    slot_BF = evict.choose_slots(
      state.bank,
      state.start_B,
      frames=self.frames,
      window=self.memory.window_frames,
      evict=self.memory.evict,
      protected_BE=protected_BE,
    )
    banks = state.bank, state.negative
    if state.bank.memory.archive is not None:
      first_B = state.start_B - self.memory.window_frames
      banks, slot_BF = archive.make_room(banks, slot_BF, first_B)
    if self.memory.evict == 'merge':
      into_BF = evict.merge_slots(
        state.bank,
        slot_BF,
        state.start_B,
        window=self.memory.window_frames,
        protected_BE=protected_BE,
      )
      banks = (
        bank and bank_lib.merge(bank, slot_BF, into_BF) for bank in banks
      )
    start_B, shot_B = state.start_B, state.shot_B
    if picture is not None:
      start = bank_lib.picture_start(picture, self.frames)
      start_B, shot_B = (jnp.full_like(start_B, n) for n in (start, ~picture))
    bank, negative = (
      bank and bank_lib.reserve(bank, slot_BF, start_B, shot_B)
      for bank in banks
    )
    return state.replace(bank=bank, negative=negative)

  def write(
    self, state: RolloutState, start_B: jax.Array, branches: Branches
  ) -> RolloutState:
    """Stores the keys and values of the first segment of each branch.

    They are of the chunk that starts at frame start_B, whose slots are
    reserved.
    """

    def write(bank, branch):
      k, v = (
        x[:, :, 0].reshape(*x.shape[:2], self.frames, -1, *x.shape[-2:])
        for x in (branch.key_LBSTHK, branch.value_LBSTHK)
      )
      return bank_lib.write(bank, start_B, k, v)

    bank = write(state.bank, branches[0])
    negative = state.negative and write(state.negative, branches[1])
    return state.replace(bank=bank, negative=negative)
