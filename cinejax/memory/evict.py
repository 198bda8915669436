"""Eviction: which slots of the bank the next chunk will take.

Empty slots are taken first. Then frames are evicted one by one, from the valid
ones outside the window, by `memory.evict`:

  oldest     the earliest frame
  redundant  the frame whose descriptor is most similar (cosine, summed over
             layers) to that of another frame; of the two, the earlier one. The
             next frame is chosen without it, so that one of two similar frames
             stays
  unused     the frame that was routed least; on a tie, the earlier one
  merge      the frame that `redundant` would evict; but it is averaged into
             the one that it is most similar to, so that what both show stays
             (near-equal content is stored once: WorldKV, arXiv 2605.22718)

Window frames are neither evicted nor compared: their commit may still be
pending, and the choice must not depend on it. Frames of given pictures and
frames that a sink policy reads (`protected_BE`) are not evicted either.
"""

import jax
import jax.numpy as jnp

from cinejax.memory.bank import EMPTY, Bank


def choose_slots(
  bank: Bank,
  start_B: jax.Array,
  *,
  frames: int,
  window: int,
  evict: str,
  protected_BE: jax.Array | None = None,
) -> jax.Array:
  """Chooses slots [B, F] for the chunk of `frames` = F that starts at start_B.

  Args:
    bank: the bank; its frames are compared by their descriptors.
    start_B: latent frame index of the chunk's first frame.
    frames: F.
    window: V; frames from start_B - V on are not evicted.
    evict: oldest | redundant | unused | merge.
    protected_BE: bool, slots that are not evicted; None: no others.
  """
  outside_BE = _evictable(bank, start_B, window, protected_BE)
  by_content = evict in ('redundant', 'merge')
  similar_BEE = _similarity(bank) if by_content else None
  taken_BE = jnp.zeros_like(bank.valid_BE)
  slots = []
  for _ in range(frames):
    loss_BE = _loss(bank, outside_BE & ~taken_BE, similar_BEE, evict)
    loss_BE = jnp.where(bank.frame_BE == EMPTY, -jnp.inf, loss_BE)
    slot_B = _first_of_least(
      jnp.where(taken_BE, jnp.inf, loss_BE), bank.frame_BE
    )
    slots.append(slot_B)
    taken_BE |= jnp.arange(taken_BE.shape[1])[None] == slot_B[:, None]
  return jnp.stack(slots, 1)


def merge_slots(
  bank: Bank,
  slot_BF: jax.Array,
  start_B: jax.Array,
  *,
  window: int,
  protected_BE: jax.Array | None = None,
) -> jax.Array:
  """The slots [B, F] with which those of `choose_slots` are merged.

  They hold the frame that is most similar to the evicted one among those that
  might be evicted after it. It is E where a slot was empty, or no such frame
  is left. Arguments are those of `choose_slots`.
  """
  may_BE = _evictable(bank, start_B, window, protected_BE)
  similar_BEE = _similarity(bank)
  rows, slots = jnp.arange(may_BE.shape[0]), may_BE.shape[1]
  into = []
  for slot_B in slot_BF.T:
    held_B = may_BE[rows, slot_B]
    may_BE &= jnp.arange(slots)[None] != slot_B[:, None]
    loss_BE = jnp.where(may_BE, -similar_BEE[rows, slot_B], jnp.inf)
    into_B = _first_of_least(loss_BE, bank.frame_BE)
    into.append(jnp.where(held_B & may_BE.any(-1), into_B, slots))
  return jnp.stack(into, 1)


def _evictable(bank, start_B, window, protected_BE) -> jax.Array:
  """Bool [B, E]: the valid frames that may be evicted."""
  outside_BE = bank.valid_BE & (bank.frame_BE < (start_B - window)[:, None])
  outside_BE &= bank.frame_BE >= 0  # not of a given picture
  return outside_BE if protected_BE is None else outside_BE & ~protected_BE


def _loss(bank, may_BE, similar_BEE, evict) -> jax.Array:
  """The loss from evicting each frame; +inf where `may_BE` forbids it."""
  if evict == 'oldest':
    loss_BE = bank.frame_BE.astype(jnp.float32)
  elif evict == 'unused':
    loss_BE = bank.use_BE
  else:
    other = ~jnp.eye(may_BE.shape[1], dtype=bool)[None]
    pair_BEE = may_BE[:, :, None] & may_BE[:, None, :] & other
    most_BE = jnp.max(jnp.where(pair_BEE, similar_BEE, -jnp.inf), -1)
    loss_BE = -jnp.maximum(most_BE, -1e30)  # finite for a lone frame
  return jnp.where(may_BE, loss_BE, jnp.inf)


def _first_of_least(loss_BE: jax.Array, frame_BE: jax.Array) -> jax.Array:
  """The slot [B] of least loss; on a tie the earlier frame, then the lower
  slot."""
  least_BE = loss_BE == loss_BE.min(-1, keepdims=True)
  last = jnp.iinfo(jnp.int32).max
  return jnp.argmin(jnp.where(least_BE, frame_BE, last), -1)


def _similarity(bank: Bank) -> jax.Array:
  """Cosine similarities of descriptors [B, E, E], summed over layers."""
  d = bank.memory.descriptor
  norm = jnp.sqrt(jnp.sum(d * d, (-2, -1), keepdims=True))
  d = d / jnp.maximum(norm, 1e-12)
  similar_BEE = jnp.einsum(
    'lbehk,lbfhk->bef', d, d, precision=jax.lax.Precision.HIGHEST
  )
  return (similar_BEE + similar_BEE.swapaxes(1, 2)) / 2  # ties must be exact
