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
"""

import chex
import jax
import jax.numpy as jnp

EMPTY = -1  # frame index of a slot that holds nothing


def picture_start(number: jax.Array | int, frames: int) -> jax.Array | int:
  """The index of the first of the F = `frames` frames of picture `number`."""
  return -(number + 2) * frames


def picture_number(frame: int, frames: int) -> int:
  """The number of the picture that has the frame of this negative index."""
  return (-frame - 1) // frames - 1


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Stored:
  """Stored keys or values: as computed, or int8 with a scale per row of K."""

  data: jax.Array  # [..., K]
  scale: jax.Array | None = None  # [...], float32; None: data as computed

  @property
  def storage(self) -> str:
    """How the data are stored: `compute` or `int8`."""
    return 'compute' if self.scale is None else 'int8'


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Memory:
  """The stored frames; the leading L is absent within a layer."""

  key: Stored  # [L, B, E, P, H, K], not rotated
  value: Stored  # [L, B, E, P, H, K]
  descriptor: jax.Array  # [L, B, E, H, K], float32, eq. (5)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Bank:
  """The stored frames, and the table of what each slot holds."""

  memory: Memory
  use_BE: jax.Array  # float32, times routed since reserved, over layers
  frame_BE: jax.Array  # int32, latent frame index from the film's start
  shot_BE: jax.Array  # int32, shot index
  valid_BE: jax.Array  # bool, whether the slot may be read


def store(x: jax.Array, storage: str) -> Stored:
  """Packs `x` [..., K]; `storage` is `compute` (as it is) or `int8`."""
  if storage == 'compute':
    return Stored(data=x)
  scale = jnp.max(jnp.abs(x.astype(jnp.float32)), -1) / 127
  unit = x.astype(jnp.float32) / jnp.maximum(scale, 1e-12)[..., None]
  return Stored(data=jnp.round(unit).astype(jnp.int8), scale=scale)


def load(stored: Stored, dtype: jnp.dtype) -> jax.Array:
  """Unpacks what `store` packed, as `dtype`."""
  if stored.scale is None:
    return stored.data.astype(dtype)
  return (stored.data * stored.scale[..., None]).astype(dtype)


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
    storage: compute | int8.
  """
  shape = (layers, batch, frames, tokens, heads, features)

  def zeros():  # a new buffer each time: donated buffers must not be shared
    return store(jnp.zeros(shape, dtype), storage)

  return Bank(
    memory=Memory(
      key=zeros(),
      value=zeros(),
      descriptor=jnp.zeros(shape[:3] + shape[4:], jnp.float32),
    ),
    use_BE=jnp.zeros((batch, frames), jnp.float32),
    frame_BE=jnp.full((batch, frames), EMPTY, jnp.int32),
    shot_BE=jnp.zeros((batch, frames), jnp.int32),
    valid_BE=jnp.zeros((batch, frames), bool),
  )


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

  def put(table_BE, value_BF):
    rows = jnp.arange(table_BE.shape[0])[:, None]
    value_BF = jnp.broadcast_to(value_BF, slot_BF.shape)
    return table_BE.at[rows, slot_BF].set(value_BF.astype(table_BE.dtype))

  return bank.replace(
    use_BE=put(bank.use_BE, jnp.zeros((1, 1))),
    frame_BE=put(bank.frame_BE, frame_BF),
    shot_BE=put(bank.shot_BE, shot_B[:, None]),
    valid_BE=put(bank.valid_BE, jnp.zeros((1, 1), bool)),
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
  return bank.replace(
    memory=jax.tree.map(put, bank.memory, memory),
    valid_BE=bank.valid_BE.at[rows, slot_BF].set(True, mode='drop'),
  )


def count_use(bank: Bank, frame_LBR: jax.Array) -> Bank:
  """Adds to `use_BE` the routed frames; EMPTY entries are not counted."""
  hit_LBRE = frame_LBR[..., None] == bank.frame_BE[None, :, None, :]
  hit_LBRE &= (frame_LBR != EMPTY)[..., None]
  return bank.replace(use_BE=bank.use_BE + hit_LBRE.sum((0, 2)))
