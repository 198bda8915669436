"""Reads frames of a bank, or of the clean half of a film, by their slots."""

import jax
import jax.numpy as jnp

from cinejax.memory import archive
from cinejax.memory import bank as bank_lib
from cinejax.models.attention import platform

# The most frames that are picked by a slice each; a film in training has more.
_SLICES = 64
# The axis of heads of each field of a Stored, before and after it is picked.
_HEAD_AXES = {'data': -2, 'scale': -1, 'channel_scale': -2}


def picked(
  memory: bank_lib.Memory, name: str, slot: jax.Array, dtype, routed: int = 0
) -> jax.Array:
  """Keys or values [B, S, M, P, H, K] of frames of a layer's `memory`.

  Args:
    memory: of the layer.
    name: key or value.
    slot: slots [B, S, M]; or [B, S, H, M], where each head reads its own.
    dtype: of the result.
    routed: at most so many of the M slots are of an archive.
  """
  stored = getattr(memory, name)
  if slot.ndim == 4:
    return bank_lib.load(_by_head(stored, slot), dtype)
  few = slot.size <= _SLICES
  pick = jax.vmap(lambda rows, slots: rows[slots])
  pick = _sliced if few and platform() == 'tpu' else pick
  near = archive.near_slots(memory, slot)
  rows = jax.tree.map(lambda rows: pick(rows, near), stored)
  if memory.archive is not None:
    rows = archive.overlaid(rows, memory, name, slot, routed)
  return bank_lib.load(rows, dtype)


def _by_head(stored: bank_lib.Stored, slot_BSHM: jax.Array) -> bank_lib.Stored:
  """The rows, each head's from its own slots."""
  pick = jax.vmap(lambda rows, slots: rows[slots])

  def field(name: str, axis: int) -> jax.Array | None:
    rows = getattr(stored, name)
    if rows is None:
      return None
    return jax.vmap(pick, (axis, 2), axis)(rows, slot_BSHM)

  return bank_lib.Stored(
    **{name: field(name, axis) for name, axis in _HEAD_AXES.items()}
  )


def _sliced(rows_BE, slot_BSM):
  """The rows by one slice each: for a gather, TPUs copy all E of them."""
  batch, segments, count = slot_BSM.shape
  picked = [
    jax.lax.dynamic_index_in_dim(rows_BE[b], slot_BSM[b, s, m], keepdims=False)
    for b in range(batch)
    for s in range(segments)
    for m in range(count)
  ]
  return jnp.stack(picked).reshape(*slot_BSM.shape, *rows_BE.shape[2:])
