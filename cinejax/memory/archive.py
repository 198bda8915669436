"""The archive: slots of a bank in host memory, so that no frame is forgotten.

A memory with an archive has E + A slots. Slots 0 .. E-1 are on the device, and
slots E .. E+A-1 in host memory. The table of what they hold and the descriptors
are on the device for all of them. Frames are therefore scored, routed and
evicted as if one bank of E + A slots held them, and a film is bit for bit that
of such a bank.

  move  The frames of a new chunk take slots on the device. For each slot that
        `evict.choose_slots` chose in the archive, the earliest frame on the
        device moves there, and its slot is taken instead. The device thus holds
        the latest frames. Window frames, which every pass reads, never move,
        and given pictures only after all frames of the film.
  read  A layer that routes archived frames reads their keys and values from
        host memory, in the pass that routes them. Nothing predicts what will be
        routed, so that no prediction can be wrong.

(Retrieval from all of a film's history: LongLive-RAG, arXiv 2606.02553, which
retrieves latents once for each block. Here every layer and pass retrieves keys
and values for itself.)

Host memory is read and written by slices only, which XLA computes without a
copy of the archive.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from cinejax.memory import router
from cinejax.memory.bank import HOST, Bank, Memory, Stored

_DEVICE = jax.memory.Space.Device


def make_room(
  banks: Sequence[Bank | None], slot_BF: jax.Array, first_B: jax.Array
) -> tuple[tuple[Bank | None, ...], jax.Array]:
  """Moves frames to the archive, so that a chunk finds slots on the device.

  Args:
    banks: they hold the same frames in the same slots; None stays None.
    slot_BF: what `evict.choose_slots` chose for the chunk.
    first_B: frames from this one on do not move.

  Returns:
    The banks, and the slots [B, F] of the device that the chunk takes.
  """
  slots, total = _sizes(banks[0])
  frame_BE = banks[0].frame_BE[:, :slots]
  taken_BE = jax.nn.one_hot(slot_BF, slots, dtype=bool).any(1)
  stays_BE = frame_BE >= first_B[:, None]
  # as unsigned numbers, given pictures come after all frames of a film
  order_BE = frame_BE.astype(jnp.uint32)
  near = []
  for slot_B in slot_BF.T:
    order_BE = jnp.where(taken_BE | stays_BE, jnp.uint32(2**32 - 1), order_BE)
    near.append(jnp.where(slot_B < slots, slot_B, jnp.argmin(order_BE, -1)))
    taken_BE |= jax.nn.one_hot(near[-1], slots, dtype=bool)
  near_BF = jnp.stack(near, 1)
  far_BF = jnp.where(slot_BF < slots, total, slot_BF)  # `total` is none
  moved = tuple(bank and _moved(bank, near_BF, far_BF) for bank in banks)
  return moved, near_BF


def _moved(bank: Bank, near_BF: jax.Array, far_BF: jax.Array) -> Bank:
  """Copies what slots of the device hold to slots of the archive."""
  slots, _ = _sizes(bank)
  rows = jnp.arange(near_BF.shape[0])[:, None]

  def entries(table_BE):
    held_BF = table_BE[rows, near_BF]
    return table_BE.at[rows, far_BF].set(held_BF, mode='drop')

  def stored(near, far):
    for b in range(near_BF.shape[0]):
      for f in range(near_BF.shape[1]):
        start = (0, b, near_BF[b, f])
        row = _slice(near, start, (near.shape[0], 1, 1))
        # what does not move is written to the last slot, which nothing reads
        start = (0, b, far_BF[b, f] - slots, *(0 for _ in far.shape[3:]))
        row = jax.device_put(row, HOST)
        far = jax.lax.dynamic_update_slice(far, row, start)
    return far

  memory = bank.memory
  archive = memory.archive.replace(
    key=jax.tree.map(stored, memory.key, memory.archive.key),
    value=jax.tree.map(stored, memory.value, memory.archive.value),
  )
  descriptor = jax.vmap(entries)(memory.descriptor)
  return bank.replace(
    memory=memory.replace(descriptor=descriptor, archive=archive),
    use_BE=entries(bank.use_BE),
    frame_BE=entries(bank.frame_BE),
    shot_BE=entries(bank.shot_BE),
    valid_BE=entries(bank.valid_BE),
  )


def context_slots(
  memory: Memory, view: router.View, rank_BSR: jax.Array
) -> jax.Array:
  """`router.context_slots`, with no archived slot where no frame is routed."""
  slot_BSM = router.context_slots(view, rank_BSR)
  if memory.archive is None:
    return slot_BSM
  routed_BSR = rank_BSR < view.prior_BSE.shape[-1]
  window = (0, 0), (0, 0), (view.window_BSV.shape[-1], 0)
  is_read_BSM = jnp.pad(routed_BSR, window, constant_values=True)
  return jnp.where(is_read_BSM, slot_BSM, 0)


def near_slots(memory: Memory, slot_BSM: jax.Array) -> jax.Array:
  """`slot_BSM`, with an arbitrary slot on the device for archived ones."""
  slots = memory.key.data.shape[1]
  if memory.descriptor.shape[1] == slots:  # there is no archive
    return slot_BSM
  return jnp.minimum(slot_BSM, slots - 1)


def overlaid(
  rows: Stored, memory: Memory, name: str, slot_BSM: jax.Array, routed: int
) -> Stored:
  """Rows [B, S, M, ...], with those of archived frames read from the host.

  Args:
    rows: what was read from the device; arbitrary for archived frames.
    memory: of the layer that reads.
    name: key or value.
    slot_BSM: the slots.
    routed: at most so many of the M slots are of the archive.
  """
  batch, segments, count = slot_BSM.shape
  archive = memory.archive
  slot_BSM = slot_BSM - memory.key.data.shape[1]  # from the archive's first on
  held_BSM = slot_BSM >= 0
  # the archived ones first, in order
  place_BSR = jnp.argsort(~held_BSM, -1, stable=True)[..., :routed]
  from_BSR = jnp.maximum(jnp.take_along_axis(slot_BSM, place_BSR, -1), 0)
  is_held_BSR = jnp.take_along_axis(held_BSM, place_BSR, -1)
  to_BSR = jnp.where(is_held_BSR, place_BSR, count)  # `count` is dropped

  def read(rows, stored):
    for b in range(batch):
      for s in range(segments):
        for r in range(to_BSR.shape[-1]):
          start = (archive.layer, b, from_BSR[b, s, r])
          row = _slice(stored, start, (1, 1, 1))
          row = jax.device_put(row, _DEVICE)[0, 0, 0]
          rows = rows.at[b, s, to_BSR[b, s, r]].set(row, mode='drop')
    return rows

  return jax.lax.cond(
    held_BSM.any(),
    lambda rows: jax.tree.map(read, rows, getattr(archive, name)),
    lambda rows: rows,
    rows,
  )


def _sizes(bank: Bank) -> tuple[int, int]:
  """(E, E + A)."""
  return bank.memory.key.data.shape[2], bank.frame_BE.shape[1]


def _slice(x, start, size) -> jax.Array:
  """The part of `x` at `start` in its first three axes, in its memory."""
  rest = x.shape[3:]
  return jax.lax.dynamic_slice(x, (*start, *(0 for _ in rest)), (*size, *rest))
