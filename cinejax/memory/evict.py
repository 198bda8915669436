"""Which slots the next chunk will take.

Empty slots first. Then, one by one, among valid frames outside the window:

  oldest     the earliest frame
  redundant  the frame whose descriptor is most similar (cosine, summed over
             layers) to another's, the earlier of the two; the next victim is
             chosen without it, so that of two alike one stays
  unused     the frame that was routed least, the earlier one on a tie

Window frames neither leave nor count in a similarity: they are the frames
whose commit may still be pending, and the choice must not depend on it. Nor
does what a sink policy reads leave (`kept_BE`): it would be no sink.
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
  kept_BE: jax.Array | None = None,
) -> jax.Array:
  """Slots [B, F] for the chunk of `frames` = F that starts at start_B.

  `window` = V: frames from start_B - V on are kept, and those of `kept_BE`.
  """
  outside_BE = bank.valid_BE & (bank.frame_BE < (start_B - window)[:, None])
  if kept_BE is not None:
    outside_BE &= ~kept_BE
  similar_BEE = _similarity(bank) if evict == 'redundant' else None
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


def _loss(bank, may_BE, similar_BEE, evict) -> jax.Array:
  """What is lost with each frame; +inf where it must stay."""
  if evict == 'oldest':
    loss_BE = bank.frame_BE.astype(jnp.float32)
  elif evict == 'unused':
    loss_BE = bank.use_BE
  else:
    other = ~jnp.eye(may_BE.shape[1], dtype=bool)[None]
    pair_BEE = may_BE[:, :, None] & may_BE[:, None, :] & other
    most_BE = jnp.max(jnp.where(pair_BEE, similar_BEE, -jnp.inf), -1)
    loss_BE = -jnp.maximum(most_BE, -1e30)  # a lone frame: finite, and last
  return jnp.where(may_BE, loss_BE, jnp.inf)


def _first_of_least(loss_BE: jax.Array, frame_BE: jax.Array) -> jax.Array:
  """The least loss; the earlier frame, then the lower slot, on a tie."""
  least_BE = loss_BE == loss_BE.min(-1, keepdims=True)
  last = jnp.iinfo(jnp.int32).max
  return jnp.argmin(jnp.where(least_BE, frame_BE, last), -1)


def _similarity(bank: Bank) -> jax.Array:
  """Cosine of descriptors, summed over layers: [B, E, E]."""
  d = bank.memory.descriptor
  norm = jnp.sqrt(jnp.sum(d * d, (-2, -1), keepdims=True))
  d = d / jnp.maximum(norm, 1e-12)
  similar_BEE = jnp.einsum(
    'lbehk,lbfhk->bef', d, d, precision=jax.lax.Precision.HIGHEST
  )
  return (similar_BEE + similar_BEE.swapaxes(1, 2)) / 2  # ties must be exact
