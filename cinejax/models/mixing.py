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

Those that need no routing are in film_mixing.py. In a rollout, the BankMixer of
bank_mixing.py takes the context of eq. (8) from a memory bank. It shares the
computation of RoutedHistoryMixer, so that a rollout reads the context that
training has read.
"""

import dataclasses
import functools

import chex
import einops
import jax
import jax.numpy as jnp

from cinejax.memory import archive, policies, router
from cinejax.memory import bank as bank_lib
from cinejax.models import gate as gate_lib
from cinejax.models import rope
from cinejax.models.attention import attend
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


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Routing:
  """The routing inputs that all layers of one pass share."""

  view: router.View
  decide: jax.Array  # bool: route; else take the given ranks
  archive: bank_lib.Archive | None = None  # None: all frames are in the bank


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
  # float32, the layer's parameters of gate.py; None: it has no gate
  gate_2H: jax.Array | None = None


@dataclasses.dataclass(frozen=True)
class ContextMixer:
  """Attention to own chunk, window and routed frames, eq. (8) and (9)."""

  outputs_noisy_only = False

  grid: TokenGrid
  routed: int  # R, frames
  by_content: bool  # whether to score frames by content: policies camr, rag
  absolute: bool  # whether positions are frame indices: policy full
  scope: str  # shared: one layer decides; else each layer, or head, does
  route_layer: int  # the layer that decides for those after it, if shared
  # whether the latest frame, not the chunk, says which frames: policy rag
  by_latest: bool = False
  by_head: bool = False  # whether each head chooses for itself

  def _decide(self, q, k, descriptor_BEHK, shared, layer, rank):
    """The ranks [B, S, R] of the frames that this layer reads.

    If heads choose for themselves, R counts the frames of all heads.
    """
    if self.by_latest:
      q_BSHK = policies.unit(self._latest(k, descriptor_BEHK, shared.view))
      descriptor_BEHK = policies.unit(descriptor_BEHK)
    else:
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

  def _latest(self, k, descriptor_BEHK, view):
    """Descriptors [B, S, H, K] of the frame before each segment."""
    del k
    return router.latest(view, descriptor_BEHK)

  def _gate(self, q, descriptor_BEHK, layer, view, rank):
    """The gate [B, S, H, R] of routed frames (gate.py); None: there is none."""
    if layer.gate_2H is None:
      return None
    slot = self._of_heads(lambda r: router.take_rank(view.slot_BSE, r), rank)
    slot_BSHR = slot if self.by_head else slot[:, :, None]
    return gate_lib.route_gate(layer.gate_2H, q, descriptor_BEHK, slot_BSHR)

  def _read(
    self, k, v, memory, view, rank, gate_BSHR=None, overlay=None
  ) -> Context:
    """[own | window | routed] of every segment, rotated here.

    `overlay(past, own)` replaces stored keys or values by own ones.
    """
    own_BSF, past_BSM = self._positions(view, rank)

    def slots(rank_BSR):
      slot_BSM = archive.context_slots(memory, view, rank_BSR)
      return router.valid_first(view, slot_BSM)

    slot = self._of_heads(slots, rank)
    past_BSM = router.valid_first(view, past_BSM)

    def past(own_BSTHK, name):
      past = picked(memory, name, slot, own_BSTHK.dtype, self.routed)
      past = past if overlay is None else overlay(past, own_BSTHK)
      return einops.rearrange(past, 'b s m p h k -> b s (m p) h k')

    # Own and past keys are rotated apart: XLA then rotates the past ones while
    # it gathers them, and stores no context in float32.
    past_k = self.grid.rotate(past(k, 'key'), past_BSM)
    own_k = self.grid.rotate(k, own_BSF)
    key_BSMHK = jnp.concatenate([own_k, past_k], 2)
    past_v = past(v, 'value')
    if gate_BSHR is not None:
      window = ((0, 0),) * 3 + ((view.window_BSV.shape[-1], 0),)
      gate_BSHM = jnp.pad(gate_BSHR, window, constant_values=1.0)
      valid_first = functools.partial(router.valid_first, view)
      past_v = gate_lib.gated(past_v, jax.vmap(valid_first, 2, 2)(gate_BSHM))
    return Context(
      key_BSMHK=key_BSMHK, value_BSMHK=jnp.concatenate([v, past_v], 2)
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

  chunks: int = dataclasses.field(kw_only=True)  # N

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
    rank = self._decide(q, k, memory.descriptor, shared, layer, rank)
    gate = self._gate(q, memory.descriptor, layer, shared.view, rank)
    context = self._read(k, v, memory, shared.view, rank, gate)
    return self._attend(q, context, shared.view, rank), rank, rank
