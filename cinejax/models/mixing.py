"""The forms of self-attention: which of the S segments see which.

The DiT calls a mixer once in each layer of its scan,

  mixer(q, k, v, shared, layer, rank) -> (out, rank, output)

  q, k, v   [B, S, T, H, K], not rotated
  shared    inputs that are the same for all layers
  layer     one layer's slice of the inputs that the scan runs over
  rank      carry: a routing decision that later layers may take over
  out       the attention's result, in the shape of q
  output    what the scan stacks over layers and the DiT returns

The equations are those of CausalCine:

  BidirectionalMixer   every token sees every token, absolute positions
  FullHistoryMixer     eq. (4) on [clean 1..N | noisy 1..N], absolute positions
  RoutedHistoryMixer   eq. (4) with the context of eq. (8) from the clean half
  ValueRecorder        one of these, whose `output` is the layer's values

In a rollout, the BankMixer of bank_mixing.py takes the context of eq. (8) from
a memory bank. It shares the computation of RoutedHistoryMixer, so that a
rollout reads the context that training has read.
"""

import dataclasses
from collections.abc import Callable

import chex
import einops
import jax
import jax.numpy as jnp

from cinejax.memory import bank as bank_lib
from cinejax.memory import router
from cinejax.models import rope
from cinejax.models.attention import attend, attend_film
from cinejax.models.gathering import picked


@dataclasses.dataclass(frozen=True)
class TokenGrid:
  """The layout of the tokens of a segment, and how attention is computed."""

  frames: int  # F, latent frames of a segment
  rows: int  # of tokens in a frame
  columns: int  # of tokens in a frame
  implementation: str  # of attention, as in attention.attend
  # Whether positions rotate feature i with i + K / 2, not 2 i with 2 i + 1.
  halves: bool = False
  precision: str = 'compute'  # of attention to a context: compute | fp8
  in_parts: bool = False  # whether that attention may do without a gradient

  @property
  def tokens(self) -> int:
    """P, the tokens of one frame."""
    return self.rows * self.columns

  def rotate(self, x: jax.Array, frame: jax.Array) -> jax.Array:
    """Rotary positions for x [..., M, H, K].

    Its tokens belong to frames at positions `frame` [..., M / P].
    """
    cos, sin = rope.rotations(frame, self.rows, self.columns, x.shape[-1])
    return rope.rotate(x, cos, sin, self.halves)

  def rotate_film(self, x_BSTHK: jax.Array, chunks: int) -> jax.Array:
    """Rotary positions for whole copies of a film of N = `chunks` segments."""
    frame_NF = jnp.arange(chunks * self.frames).reshape(chunks, self.frames)
    copies = x_BSTHK.shape[1] // chunks
    return self.rotate(x_BSTHK, jnp.tile(frame_NF, (copies, 1))[None])


@dataclasses.dataclass(frozen=True)
class BidirectionalMixer:
  """Every token of the real segments is seen by every token.

  `shared` [B] is the number of real segments of each film, its first ones;
  None: all.
  """

  grid: TokenGrid
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    batch, segments, tokens = q.shape[:3]
    length_B = None if shared is None else (shared * tokens).astype(jnp.int32)
    q, k, v = (
      einops.rearrange(x, 'b s t h k -> b (s t) h k') for x in (q, k, v)
    )
    frame_BF = jnp.broadcast_to(
      jnp.arange(segments * self.grid.frames),
      (batch, segments * self.grid.frames),
    )
    q, k = self.grid.rotate(q, frame_BF), self.grid.rotate(k, frame_BF)
    out = attend(q, k, v, length_B, self.grid.implementation)
    out = einops.rearrange(out, 'b (s t) h k -> b s t h k', s=segments)
    return out, rank, None


@dataclasses.dataclass(frozen=True)
class ValueRecorder:
  """Calls `mixer` and returns the values of every segment as its `output`."""

  mixer: Callable
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    return out, rank, v


@dataclasses.dataclass(frozen=True)
class FullHistoryMixer:
  """Equation (4) on [clean 1..N | noisy 1..N ...], absolute positions.

  The queries may be those of the last segments only.
  """

  grid: TokenGrid
  chunks: int  # N
  outputs_noisy_only = True

  def __call__(self, q, k, v, shared, layer, rank):
    q, k = (self.grid.rotate_film(x, self.chunks) for x in (q, k))
    out = attend_film(q, k, v, self.chunks, self.grid.implementation)
    return out, rank, None


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Routing:
  """The routing inputs that all layers of one pass share."""

  view: router.View
  decide: jax.Array  # bool: route; else take the given ranks


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Context:
  """What the queries of one layer read: M = (F + V + R) P tokens.

  They are those of the own chunk, of the window and of the routed frames.
  """

  key_BSMHK: jax.Array  # rotated
  value_BSMHK: jax.Array


@chex.dataclass(frozen=True, mappable_dataclass=False)
class LayerMemory:
  """The memory that one layer reads, and the ranks it is given."""

  index: jax.Array  # int32, the layer's number from 0
  memory: bank_lib.Memory | None  # of this layer; None: it is the clean half
  given_BSR: jax.Array | None  # int32, ranks to take when not deciding
  # of another pass over the same chunk, whose window is kept; None: all is read
  context: Context | None = None


@dataclasses.dataclass(frozen=True)
class ContextMixer:
  """Attention to own chunk, window and routed frames, eq. (8) and (9)."""

  outputs_noisy_only = False

  grid: TokenGrid
  routed: int  # R, frames
  by_content: bool  # whether to score frames by content: policy camr
  absolute: bool  # whether positions are frame indices: policy full
  scope: str  # layer | shared | head
  route_layer: int  # the layer that decides for those after it, if shared

  @property
  def by_head(self) -> bool:
    """Whether each head chooses for itself, as in MemoryConfig.by_head."""
    return self.scope == 'head' and self.by_content and self.routed > 0

  def _decide(self, q, descriptor_BEHK, shared, layer, rank):
    """The ranks [B, S, R] of the frames that this layer reads.

    If heads choose for themselves, R counts the frames of all heads.
    """
    q_BSHK = jnp.mean(q, 2, dtype=jnp.float32)  # eq. (6)
    own = router.route(
      shared.view,
      jax.lax.stop_gradient(q_BSHK),
      jax.lax.stop_gradient(descriptor_BEHK),
      routed=self.routed,
      by_content=self.by_content,
      by_head=self.by_head,
    )
    if self.scope == 'shared':
      own = jnp.where(layer.index > self.route_layer, rank, own)
      none = router.none_routed(shared.view, self.routed)
      own = jnp.where(layer.index < self.route_layer, none, own)
    if layer.given_BSR is None:
      return own
    return jnp.where(shared.decide, own, layer.given_BSR)

  def _read(self, k, v, memory, view, rank, overlay=None) -> Context:
    """[own | window | routed] of every segment, rotated here.

    `overlay(past, own)` replaces stored keys or values by own ones.
    """
    own_BSF, past_BSM = self._positions(view, rank)

    def slots(rank_BSR):
      return router.valid_first(view, router.context_slots(view, rank_BSR))

    slot = self._of_heads(slots, rank)
    past_BSM = router.valid_first(view, past_BSM)

    def past(own_BSTHK, stored):
      past = picked(stored, slot, own_BSTHK.dtype)
      past = past if overlay is None else overlay(past, own_BSTHK)
      return einops.rearrange(past, 'b s m p h k -> b s (m p) h k')

    # Own and past keys are rotated apart: XLA then rotates the past ones while
    # it gathers them, and stores no context in float32.
    past_k = self.grid.rotate(past(k, memory.key), past_BSM)
    own_k = self.grid.rotate(k, own_BSF)
    return Context(
      key_BSMHK=jnp.concatenate([own_k, past_k], 2),
      value_BSMHK=jnp.concatenate([v, past(v, memory.value)], 2),
    )

  def _of_heads(self, fn, rank):
    """fn(rank_BSR); for heads that choose apart, stacked in a third axis."""
    if not self.by_head:
      return fn(rank)
    rank_BSHR = rank.reshape(*rank.shape[:2], -1, self.routed)
    return jax.vmap(fn, 2, 2)(rank_BSHR)

  def _roles(self, rank):
    """Ranks [B, S, R] by which frames have places and positions.

    Those of the first head serve for all: every head reads as many frames, in
    time order, since the same ones may be routed.
    """
    return rank[..., : self.routed] if self.by_head else rank

  def _positions(self, view, rank):
    """Positions of own frames [B, S, F] and of past ones [B, S, V + R]."""
    frames = self.grid.frames
    frame_BSM = router.positions(
      view, self._roles(rank), frames=frames, absolute=self.absolute
    )
    return jnp.split(frame_BSM, [frames], -1)

  def _attend(self, q, context, view, rank):
    """Attention of every segment to its context; queries are rotated here."""
    own_BSF, _ = self._positions(view, rank)
    batch, segments = q.shape[:2]
    length = router.context_length(view, self._roles(rank), self.grid.frames)
    out = attend(
      *(
        einops.rearrange(x, 'b s m h k -> (b s) m h k')
        for x in (
          self.grid.rotate(q, own_BSF),
          context.key_BSMHK,
          context.value_BSMHK,
        )
      ),
      (length * self.grid.tokens).reshape(-1).astype(jnp.int32),
      self.grid.implementation,
      precision=self.grid.precision,
      in_parts=self.grid.in_parts,
    )
    return out.reshape(batch, segments, *out.shape[1:])


@dataclasses.dataclass(frozen=True)
class RoutedHistoryMixer(ContextMixer):
  """Teacher forcing with the context that a rollout will have.

  The clean half is read as a bank would be; its frames are never evicted.
  """

  chunks: int  # N

  def __call__(self, q, k, v, shared, layer, rank):
    key, value = (
      einops.rearrange(
        x[:, : self.chunks],
        'b n (f p) h k -> b (n f) p h k',
        f=self.grid.frames,
      )
      for x in (k, v)
    )
    memory = bank_lib.Memory(
      key=bank_lib.Stored(data=key),
      value=bank_lib.Stored(data=value),
      descriptor=bank_lib.descriptor(key),
    )
    rank = self._decide(q, memory.descriptor, shared, layer, rank)
    context = self._read(k, v, memory, shared.view, rank)
    return self._attend(q, context, shared.view, rank), rank, rank
