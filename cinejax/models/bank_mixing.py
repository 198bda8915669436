"""Self-attention in a rollout: the context of eq. (8) from a memory bank.

All passes over a chunk read the same window. Where layers have leaves of their
own (dit.separated), a pass therefore reads only the frames that it routes from
the bank, and writes them and its own ones into the arrays of the pass before. A
scan over layers would copy these arrays.
"""

import dataclasses

import chex
import einops
import jax
import jax.numpy as jnp

from cinejax.memory import archive, router
from cinejax.memory import bank as bank_lib
from cinejax.models.gate import gated
from cinejax.models.gathering import picked
from cinejax.models.mixing import Context, ContextMixer


@chex.dataclass(frozen=True, mappable_dataclass=False)
class LayerOutput:
  """The new keys and values of one layer, and the frames that it has routed."""

  key_BSTHK: jax.Array  # not rotated
  value_BSTHK: jax.Array
  rank_BSR: jax.Array  # int32, of all heads if they choose apart
  context: Context | None = None  # what was read, for the next pass


@dataclasses.dataclass(frozen=True)
class BankMixer(ContextMixer):
  """One chunk over a bank, or [clean i | noisy i+1] packed into one pass.

  In the packed pass chunk i is not in the bank yet. The noisy half takes its
  keys and values, the last F frames of its window, from the clean half, in the
  precision in which the bank will store them.
  """

  def __call__(self, q, k, v, shared, layer, rank):
    memory, view = layer.memory, shared.view
    if shared.archive is not None:
      here = shared.archive.replace(layer=layer.index)
      memory = memory.replace(archive=here)
    rank = self._decide(q, k, memory.descriptor, shared, layer, rank)
    gate = self._gate(q, memory.descriptor, layer, view, rank)
    storage, packed = memory.key.storage, q.shape[1] == 2
    if layer.context is None:
      overlay = self._pending(view, storage) if packed else None
      context = self._read(k, v, memory, view, rank, gate, overlay)
    else:
      context = self._read_again(k, v, memory, view, rank, gate, layer.context)
    out = self._attend(q, context, view, rank)
    output = LayerOutput(key_BSTHK=k, value_BSTHK=v, rank_BSR=rank)
    if layer.context is not None:
      output = output.replace(context=context)
    return out, rank, output

  def with_window(self, memory, view, dtype) -> Context:
    """The context of a layer before the first pass: the window and zeros."""
    window = view.window_BSV.shape[-1]
    none = router.none_routed(view, self.routed)
    _, past_BSM = self._positions(view, none)
    tokens = self.grid.tokens

    def placed(name, rotate):
      x = picked(memory, name, view.window_BSV, dtype)
      x = einops.rearrange(x, 'b s m p h k -> b s (m p) h k')
      x = self.grid.rotate(x, past_BSM[..., :window]) if rotate else x
      pad = self.grid.frames * tokens, self.routed * tokens
      return jnp.pad(x, ((0, 0), (0, 0), pad, (0, 0), (0, 0)))

    return Context(
      key_BSMHK=placed('key', True),
      value_BSMHK=placed('value', False),
    )

  def _read_again(self, k, v, memory, view, rank, gate, context) -> Context:
    """`context` with the keys and values of this pass, in the same arrays.

    Only own and routed frames are written: the window is that of the chunk.
    """
    window = view.window_BSV.shape[-1]
    own_BSF, past_BSM = self._positions(view, rank)
    slot = self._of_heads(
      lambda rank_BSR: archive.context_slots(memory, view, rank_BSR)[
        ..., window:
      ],
      rank,
    )
    routed_k, routed_v = (
      einops.rearrange(
        picked(memory, name, slot, k.dtype, self.routed),
        'b s m p h k -> b s (m p) h k',
      )
      for name in ('key', 'value')
    )
    routed_k = self.grid.rotate(routed_k, past_BSM[..., window:])
    if gate is not None:
      routed_v = gated(routed_v, gate)
    # right after the frames that the window has
    start_BS = (self.grid.frames + view.valid_BS) * self.grid.tokens
    update = jax.lax.dynamic_update_slice_in_dim

    def put(x, own, routed):
      x = update(x, own, 0, 2)
      if start_BS.size == 1:
        return update(x, routed, start_BS[0, 0], 2)
      each = jax.vmap(lambda x, y, start: update(x, y, start, 0))
      return jax.vmap(each)(x, routed, start_BS)

    return Context(
      key_BSMHK=put(context.key_BSMHK, self.grid.rotate(k, own_BSF), routed_k),
      value_BSMHK=put(context.value_BSMHK, v, routed_v),
    )

  def _latest(self, k, descriptor_BEHK, view):
    latest_BSHK = super()._latest(k, descriptor_BEHK, view)
    if k.shape[1] == 1:
      return latest_BSHK
    # that of the noisy half is the last one of the clean half
    clean_BHK = bank_lib.descriptor(k[:, 0, -self.grid.tokens :])
    clean_BHK = jnp.where(view.valid_BS[:, 1, None, None] > 0, clean_BHK, 0.0)
    return jnp.stack([latest_BSHK[:, 0], clean_BHK], 1)

  def _pending(self, view, storage):
    """An `overlay` that puts the clean chunk into the noisy half's window."""
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
