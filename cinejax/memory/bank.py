"""The memory of a film: an immutable pytree of fixed capacity.

Keys are stored after qk-norm and before rotation, so that a frame can be
given any position when it is read. The descriptor of a frame is

  d_f = mean_p k[f, p]                                                      (5)

(CausalCine, section 3). Which slot holds which frame is shared by all layers.

Life of a slot: `reserve` names the frames it will hold when their chunk
starts (they are then in the table but not valid, and what it held before is
hidden); `write` fills it when the chunk is committed. The two are apart so
that the choice of slots never depends on when the commit pass runs.
"""

import chex
import jax
import jax.numpy as jnp

EMPTY = -1  # frame index of a slot that holds nothing


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Stored:
  """Keys or values at rest: as computed, or int8 with a scale a row of K."""

  data: jax.Array  # [..., K]
  scale: jax.Array | None = None  # [...], float32; None = data as computed

  @property
  def storage(self) -> str:
    """`compute` or `int8`."""
    return 'compute' if self.scale is None else 'int8'


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Memory:
  """What a layer reads; with a leading L in the bank, without it in a layer."""

  key: Stored  # [L, B, E, P, H, K], not rotated
  value: Stored  # [L, B, E, P, H, K]
  descriptor: jax.Array  # [L, B, E, H, K], float32, eq. (5)


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Bank:
  memory: Memory
  use_BE: jax.Array  # float32, times routed since written, over layers
  frame_BE: jax.Array  # int32, latent frame index from the film's start
  shot_BE: jax.Array  # int32, shot index
  valid_BE: jax.Array  # bool, may be read


def store(x: jax.Array, storage: str) -> Stored:
  """Packs [..., K]; storage is `compute` or `int8`."""
  if storage == 'compute':
    return Stored(data=x)
  scale = jnp.max(jnp.abs(x.astype(jnp.float32)), -1) / 127
  unit = x.astype(jnp.float32) / jnp.maximum(scale, 1e-12)[..., None]
  return Stored(data=jnp.round(unit).astype(jnp.int8), scale=scale)


def load(stored: Stored, dtype: jnp.dtype) -> jax.Array:
  """The array that `store` packed, in `dtype`."""
  if stored.scale is None:
    return stored.data.astype(dtype)
  return (stored.data * stored.scale[..., None]).astype(dtype)


def descriptor(k_FPHK: jax.Array) -> jax.Array:
  """Eq. (5), for any leading axes: [..., P, H, K] -> [..., H, K] float32."""
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
  """A bank of `frames` = E empty slots of `tokens` = P tokens each."""
  shape = (layers, batch, frames, tokens, heads, features)

  def zeros():  # a fresh buffer each: donated buffers must not be shared
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
  """The bank with nothing in it that may be read; memory as it is."""
  return bank.replace(
    use_BE=jnp.zeros_like(bank.use_BE),
    frame_BE=jnp.full_like(bank.frame_BE, EMPTY),
    valid_BE=jnp.zeros_like(bank.valid_BE),
  )


def reserve(
  bank: Bank, slot_BF: jax.Array, start_B: jax.Array, shot_B: jax.Array
) -> Bank:
  """Names what `slot_BF` will hold: F frames from start_B on, of one shot."""
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
  """Fills the slots reserved for the chunk that starts at frame start_B.

  Frames that no slot is reserved for are dropped: a chunk that does not exist
  (the one before the first) is committed nowhere.
  """
  frame_BF = start_B[:, None] + jnp.arange(k_LBFPHK.shape[2])[None]
  match_BFE = frame_BF[:, :, None] == bank.frame_BE[:, None, :]
  match_BFE &= (frame_BF >= 0)[:, :, None]  # EMPTY is no frame's index
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
  """Counts the routed frames (EMPTY = none), over layers."""
  hit_LBRE = frame_LBR[..., None] == bank.frame_BE[None, :, None, :]
  hit_LBRE &= (frame_LBR != EMPTY)[..., None]
  return bank.replace(use_BE=bank.use_BE + hit_LBRE.sum((0, 2)))
