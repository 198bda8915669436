"""The bank: the memory of a film, an immutable pytree of fixed capacity.

Keys are stored after qk-norm and before rotation, so that a frame can be
given any position when it is read. The descriptor of a frame is

  d_f = mean_p k[f, p]                                                      (5)

(CausalCine, section 3). All layers store a frame in the same slot.

A slot is filled in two steps. `reserve` enters the frames that it will hold
into the table when their chunk starts: they are not yet valid, and what the
slot held before can no longer be read. `write` stores them when the chunk is
committed. The choice of slots thus never depends on when the commit pass runs.

Frames of given pictures (the cast of a film) have negative indices, so that
they are earlier than all frames of the film. They are never evicted and never
in the window. The F frames of picture n = 0, 1, .. begin at -(n + 2) F. Chunk
-1, the chunk before the first one, which does not exist, thus has no frame of
a picture.

With an archive (archive.py), the slots from E on are in host memory.
"""

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.memory.stored import Stored, load, store

EMPTY = -1  # frame index of a slot that holds nothing
HOST = jax.memory.Space.Host


def picture_start(number: jax.Array | int, frames: int) -> jax.Array | int:
  """The index of the first of the F = `frames` frames of picture `number`."""
  return -(number + 2) * frames


def picture_number(frame: int, frames: int) -> int:
  """The number of the picture that has the frame of this negative index."""
  return (-frame - 1) // frames - 1


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Archive:
  """Keys and values in host memory, of the slots from E on; see archive.py."""

  key: Stored  # [L, B, A + 1, P, H, K]; nothing reads the last one
  value: Stored  # [L, B, A + 1, P, H, K]
  layer: jax.Array | None = None  # int32, the layer that reads, within a layer


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Memory:
  """The stored frames; the leading L is absent within a layer."""

  key: Stored  # [L, B, E, P, H, K], not rotated
  value: Stored  # [L, B, E, P, H, K]
  # [L, B, E, H, K], float32, eq. (5); with an archive, of all E + A slots
  descriptor: jax.Array
  archive: Archive | None = None  # None: all frames are on the device


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Bank:
  """The stored frames, and the table of what each slot holds.

  With an archive, the table has E + A slots.
  """

  memory: Memory
  use_BE: jax.Array  # float32, times routed since reserved, over layers
  frame_BE: jax.Array  # int32, latent frame index from the film's start
  shot_BE: jax.Array  # int32, shot index
  valid_BE: jax.Array  # bool, whether the slot may be read
  # float32, frames whose average a slot holds; None: none are averaged
  count_BE: jax.Array | None = None


def descriptor(k_FPHK: jax.Array) -> jax.Array:
  """Eq. (5) for any leading axes: [..., P, H, K] -> [..., H, K], float32."""
  return jnp.mean(k_FPHK, -3, dtype=jnp.float32)


def empty(
  *,
  layers: int,
  batch: int,
  frames: int,
  tokens: int,
  heads: int,
  features: int,
  dtype: jnp.dtype,
  storage: str = 'compute',
  counted: bool = False,
  archive: int = 0,
) -> Bank:
  """A bank without frames.

  Args:
    layers: L.
    batch: B, the number of films.
    frames: E, the number of slots.
    tokens: P, the tokens of a frame.
    heads: H.
    features: K, of a head.
    dtype: of keys and values that are stored as computed.
    storage: one of config.STORAGES.
    counted: whether frames can be merged.
    archive: A, the number of slots in host memory; 0: there is no archive.
  """

  def shape(slots):
    return (layers, batch, slots, tokens, heads, features)

  def zeros():  # a new buffer each time: donated buffers must not be shared
    return store(jnp.zeros(shape(frames), dtype), storage)

  def on_host():
    shapes = jax.eval_shape(
      lambda: store(jnp.zeros(shape(archive + 1), dtype), storage)
    )
    return jax.tree.map(_zeros_on_host, shapes)

  slots = frames + archive
  table = (batch, slots)
  return Bank(
    memory=Memory(
      key=zeros(),
      value=zeros(),
      descriptor=jnp.zeros(
        (layers, batch, slots, heads, features), jnp.float32
      ),
      archive=Archive(key=on_host(), value=on_host()) if archive else None,
    ),
    use_BE=jnp.zeros(table, jnp.float32),
    frame_BE=jnp.full(table, EMPTY, jnp.int32),
    shot_BE=jnp.zeros(table, jnp.int32),
    valid_BE=jnp.zeros(table, bool),
    count_BE=jnp.zeros(table, jnp.float32) if counted else None,
  )


def _zeros_on_host(x: jax.ShapeDtypeStruct) -> jax.Array:
  # A device may have no room for them; where shapes alone are computed, this
  # host may have none either.
  traced = isinstance(jnp.zeros(()), jax.core.Tracer)
  zeros = (jnp if traced else np).zeros(x.shape, x.dtype)
  return jax.device_put(zeros, HOST)


def emptied(bank: Bank) -> Bank:
  """The bank without frames in its table; the memory is left as it is."""
  return bank.replace(
    use_BE=jnp.zeros_like(bank.use_BE),
    frame_BE=jnp.full_like(bank.frame_BE, EMPTY),
    valid_BE=jnp.zeros_like(bank.valid_BE),
  )


def reserve(
  bank: Bank, slot_BF: jax.Array, start_B: jax.Array, shot_B: jax.Array
) -> Bank:
  """Enters F frames into the table, in the slots `slot_BF`.

  They are the frames from start_B on, of the shots shot_B. They cannot be read
  before `write`, nor can what the slots held before.
  """
  frame_BF = start_B[:, None] + jnp.arange(slot_BF.shape[1])[None]
  count_BE = bank.count_BE

  def put(table_BE, value_BF):
    rows = jnp.arange(table_BE.shape[0])[:, None]
    value_BF = jnp.broadcast_to(value_BF, slot_BF.shape)
    return table_BE.at[rows, slot_BF].set(value_BF.astype(table_BE.dtype))

  return bank.replace(
    use_BE=put(bank.use_BE, jnp.zeros((1, 1))),
    frame_BE=put(bank.frame_BE, frame_BF),
    shot_BE=put(bank.shot_BE, shot_B[:, None]),
    valid_BE=put(bank.valid_BE, jnp.zeros((1, 1), bool)),
    count_BE=None if count_BE is None else put(count_BE, jnp.ones((1, 1))),
  )


def merge(bank: Bank, slot_BF: jax.Array, into_BF: jax.Array) -> Bank:
  """Averages each frame of the slots `slot_BF` into that of slot `into_BF`.

  Keys, values and descriptors become the mean of all frames that were merged
  there, in the order of F; the table keeps the frame of `into_BF`. Nothing is
  merged where `into_BF` is E. What `slot_BF` held is left as it is.
  """
  for slot_B, into_B in zip(slot_BF.T, into_BF.T, strict=True):
    bank = _merge_one(bank, slot_B, into_B)
  return bank


def _merge_one(bank: Bank, slot_B: jax.Array, into_B: jax.Array) -> Bank:
  rows, slots = jnp.arange(slot_B.shape[0]), bank.count_BE.shape[1]
  kept_B = jnp.minimum(into_B, slots - 1)
  count_B, added_B = (bank.count_BE[rows, at] for at in (kept_B, slot_B))
  share_B = added_B / jnp.maximum(count_B + added_B, 1)

  def mean(stored: Stored, storage: str) -> Stored:
    old, new = (
      load(jax.tree.map(lambda x, at=at: x[:, rows, at], stored), jnp.float32)
      for at in (kept_B, slot_B)
    )
    share = share_B.reshape(1, -1, *(1,) * (old.ndim - 2))
    return jax.tree.map(
      lambda x, y: x.at[:, rows, into_B].set(y.astype(x.dtype), mode='drop'),
      stored,
      store(old + share * (new - old), storage),
    )

  key, value = bank.memory.key, bank.memory.value
  descriptor = Stored(data=bank.memory.descriptor)
  return bank.replace(
    memory=Memory(
      key=mean(key, key.storage),
      value=mean(value, value.storage),
      descriptor=mean(descriptor, 'compute').data,
    ),
    count_BE=bank.count_BE.at[rows, into_B].add(added_B, mode='drop'),
  )


def write(
  bank: Bank, start_B: jax.Array, k_LBFPHK: jax.Array, v_LBFPHK: jax.Array
) -> Bank:
  """Stores a chunk in the slots that are reserved for it.

  The chunk starts at frame start_B; its keys are not rotated. Frames without a
  reserved slot are dropped, so that the chunk before the first one, which does
  not exist, is stored nowhere.
  """
  frame_BF = start_B[:, None] + jnp.arange(k_LBFPHK.shape[2])[None]
  match_BFE = frame_BF[:, :, None] == bank.frame_BE[:, None, :]
  match_BFE &= (frame_BF != EMPTY)[:, :, None]  # EMPTY is not a frame's index
  slots = bank.frame_BE.shape[1]
  slot_BF = jnp.where(match_BFE.any(-1), jnp.argmax(match_BFE, -1), slots)
  rows = jnp.arange(slot_BF.shape[0])[:, None]

  def put(old, new):
    return old.at[:, rows, slot_BF].set(new.astype(old.dtype), mode='drop')

  memory = Memory(
    key=store(k_LBFPHK, bank.memory.key.storage),
    value=store(v_LBFPHK, bank.memory.value.storage),
    descriptor=descriptor(k_LBFPHK),
  )
  archive = bank.memory.archive  # reserved slots are on the device
  stored = jax.tree.map(put, bank.memory.replace(archive=None), memory)
  return bank.replace(
    memory=stored.replace(archive=archive),
    valid_BE=bank.valid_BE.at[rows, slot_BF].set(True, mode='drop'),
  )


def count_use(bank: Bank, frame_LBR: jax.Array) -> Bank:
  """Adds to `use_BE` the routed frames; EMPTY entries are not counted."""
  hit_LBRE = frame_LBR[..., None] == bank.frame_BE[None, :, None, :]
  hit_LBRE &= (frame_LBR != EMPTY)[..., None]
  return bank.replace(use_BE=bank.use_BE + hit_LBRE.sum((0, 2)))
