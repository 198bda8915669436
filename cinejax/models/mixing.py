"""How the tokens of S segments see one another: the forms of self-attention.

A mixer is called once a layer inside the DiT's layer scan,

  mixer(q, k, v, shared, layer, rank) -> (out, rank, kept)

with un-rotated q, k, v [B, S, T, H, K]; `shared` is the same for all layers,
`layer` is one layer's share of what is scanned over, `rank` carries a routing
decision upwards when layers share one, and `kept` is collected over layers.

  Bidirectional   every token sees every token, absolute positions
  FullHistory     eq. (4) on [clean 1..N | noisy 1..N], absolute positions
  RoutedHistory   eq. (4) with the context of eq. (8) over the clean half
  Banked          the same over a memory bank, in a rollout
  Watched         one of these, with its values kept

RoutedHistory and Banked are one computation over two sources: what training
sees is what generation sees.
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


@dataclasses.dataclass(frozen=True)
class Grid:
  """What every mixer knows of tokens."""

  frames: int  # F
  rows: int  # of tokens in a frame
  columns: int  # of tokens in a frame
  implementation: str  # of attention

  @property
  def tokens(self) -> int:
    """P, of one frame."""
    return self.rows * self.columns

  def rotate(self, x: jax.Array, frame: jax.Array) -> jax.Array:
    """Rotates [..., M, H, K], tokens of frames at positions [..., M / P]."""
    table = rope.angles(frame, self.rows, self.columns, x.shape[-1])
    return rope.rotate(x, table)


@dataclasses.dataclass(frozen=True)
class Bidirectional:
  """`shared` is how many segments are real, [B]; None: all. Padding is last."""

  grid: Grid
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
class Watched:
  """`mixer`, keeping the values of every segment: a network's features."""

  mixer: Callable
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    return out, rank, v


@dataclasses.dataclass(frozen=True)
class FullHistory:
  """Equation (4) on [clean 1..N | noisy 1..N ...], absolute positions.

  Queries may be those of the last segments only.
  """

  grid: Grid
  chunks: int  # N
  outputs_noisy_only = True

  def __call__(self, q, k, v, shared, layer, rank):
    q, k = self._rotate(q), self._rotate(k)
    out = attend_film(q, k, v, self.chunks, self.grid.implementation)
    return out, rank, None

  def _rotate(self, x_BSTHK):
    frames = self.grid.frames
    frame_NF = jnp.arange(self.chunks * frames).reshape(self.chunks, frames)
    copies = x_BSTHK.shape[1] // self.chunks
    return self.grid.rotate(x_BSTHK, jnp.tile(frame_NF, (copies, 1))[None])


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Routing:
  """What the layers of one pass share about routing."""

  view: router.View
  decide: jax.Array  # bool: route anew; else take the given ranks


@chex.dataclass(frozen=True, mappable_dataclass=False)
class LayerMemory:
  """One layer's share of a pass over a bank."""

  index: jax.Array  # int32, of the layer
  memory: bank_lib.Memory | None  # of this layer; None = the clean half
  given_BSR: jax.Array | None  # ranks to take when not deciding


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Kept:
  """What a pass over a bank leaves behind, stacked over layers."""

  key_BSTHK: jax.Array  # not rotated
  value_BSTHK: jax.Array
  rank_BSR: jax.Array


@dataclasses.dataclass(frozen=True)
class _Contextual:
  """Attention to own chunk, window and routed frames, eq. (8) and (9)."""

  outputs_noisy_only = False

  grid: Grid
  routed: int  # R
  by_content: bool  # policy camr
  absolute: bool  # policy full: positions are frame indices
  scope: str  # layer | shared
  route_layer: int  # that decides when shared

  def _decide(self, q, descriptor_BEHK, shared, layer, rank):
    q_BSHK = jnp.mean(q, 2, dtype=jnp.float32)  # eq. (6)
    own = router.route(
      shared.view,
      jax.lax.stop_gradient(q_BSHK),
      jax.lax.stop_gradient(descriptor_BEHK),
      routed=self.routed,
      by_content=self.by_content,
    )
    if self.scope == 'shared':
      own = jnp.where(layer.index > self.route_layer, rank, own)
      none = router.none_routed(shared.view, self.routed)
      own = jnp.where(layer.index < self.route_layer, none, own)
    if layer.given_BSR is None:
      return own
    return jnp.where(shared.decide, own, layer.given_BSR)

  def _attend(self, q, k, v, memory, view, rank, overlay=None):
    """q of every segment against [own | window | routed], rotated here.

    `overlay(past, own)` puts own keys or values in the place of stored ones.
    """
    slot_BSM = router.context_slots(view, rank)
    batch, segments = q.shape[:2]

    def context(own_BSTHK, stored):
      picked = jax.vmap(lambda rows, slots: rows[slots])
      taken = jax.tree.map(lambda rows: picked(rows, slot_BSM), stored)
      past = bank_lib.load(taken, own_BSTHK.dtype)
      past = past if overlay is None else overlay(past, own_BSTHK)
      past = einops.rearrange(past, 'b s m p h k -> b s (m p) h k')
      return jnp.concatenate([own_BSTHK, past], 2)

    frame_BSM = router.positions(
      view, rank, frames=self.grid.frames, absolute=self.absolute
    )
    q = self.grid.rotate(q, frame_BSM[..., : self.grid.frames])
    k = self.grid.rotate(context(k, memory.key), frame_BSM)
    v = context(v, memory.value)
    length = router.context_length(view, rank, self.grid.frames)
    out = attend(
      *(einops.rearrange(x, 'b s m h k -> (b s) m h k') for x in (q, k, v)),
      (length * self.grid.tokens).reshape(-1).astype(jnp.int32),
      self.grid.implementation,
    )
    return out.reshape(batch, segments, *out.shape[1:])


@dataclasses.dataclass(frozen=True)
class RoutedHistory(_Contextual):
  """Teacher forcing with the context that a rollout will have."""

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
    out = self._attend(q, k, v, memory, shared.view, rank)
    return out, rank, rank


@dataclasses.dataclass(frozen=True)
class Banked(_Contextual):
  """A chunk over a bank; or [clean i | noisy i+1] in one pass.

  In the packed pass chunk i is not in the bank yet: the noisy half takes its
  keys and values, the last F of its window, from the clean half, as the bank
  will hold them.
  """

  def __call__(self, q, k, v, shared, layer, rank):
    memory = layer.memory
    rank = self._decide(q, memory.descriptor, shared, layer, rank)
    storage, packed = memory.key.storage, q.shape[1] == 2
    overlay = self._pending(shared.view, storage) if packed else None
    out = self._attend(q, k, v, memory, shared.view, rank, overlay)
    return out, rank, Kept(key_BSTHK=k, value_BSTHK=v, rank_BSR=rank)

  def _pending(self, view, storage):
    frames = self.grid.frames
    place_BM = jnp.arange(view.window_BSV.shape[-1] + self.routed)[None]
    first_B1 = view.valid_BS[:, 1:] - frames  # in the noisy half's window
    hit_BM = (place_BM >= first_B1) & (place_BM < first_B1 + frames)
    hit_BM &= first_B1 >= 0
    source_BM = jnp.clip(place_BM - first_B1, 0, frames - 1)

    def overlay(past_BSMPHK, own_BSTHK):
      clean = einops.rearrange(
        own_BSTHK[:, 0], 'b (f p) h k -> b f p h k', f=frames
      )
      clean = bank_lib.load(bank_lib.store(clean, storage), clean.dtype)
      clean = jax.vmap(lambda rows, index: rows[index])(clean, source_BM)
      noisy = jnp.where(hit_BM[..., None, None, None], clean, past_BSMPHK[:, 1])
      return jnp.stack([past_BSMPHK[:, 0], noisy], 1)

    return overlay
