"""The state that a rollout carries from chunk to chunk.

It is an immutable pytree of fixed shapes, so that one executable serves every
chunk. It is donated to each call, so that memory is constant.
"""

import chex
import jax
import jax.numpy as jnp

from cinejax.memory import bank as bank_lib
from cinejax.memory.config import MemoryConfig
from cinejax.models.config import DiTConfig


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ChunkInput:
  """What the next chunk should show; it may be decided during the rollout."""

  text_BWD: jax.Array  # float32, the encoded prompt
  cut_B: jax.Array  # bool, whether the chunk opens a new shot
  # float32, the given first latent frame; None: all frames start from noise
  image_BYXC: jax.Array | None = None


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ChunkOutput:
  """A generated chunk."""

  latents_BFYXC: jax.Array  # float32, normalised
  # int32, frames routed at each denoising step; EMPTY at steps that were not
  # run. Where heads choose apart, it is [J, L, B, H, R]
  frame_JLBR: jax.Array


@chex.dataclass(frozen=True, mappable_dataclass=False)
class LastPass:
  """The inputs of the pass that made a chunk, so that it can be run again."""

  x_BFYXC: jax.Array  # noisy
  t_B: jax.Array
  ranks_LBSR: tuple[jax.Array, ...]  # that each branch routed


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Pending:
  """A finished chunk that the next chunk's first pass commits (`fused`)."""

  latents_BFYXC: jax.Array
  text_BWD: jax.Array


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Recent:
  """The chunks of the window, oldest first, which `memory.reencode` reruns."""

  latents_BNFYXC: jax.Array  # N = V / F
  text_BNWD: jax.Array

  def push(self, latents_BFYXC: jax.Array, text_BWD: jax.Array) -> 'Recent':
    """Appends a chunk and drops the oldest."""
    new = Recent(latents_BNFYXC=latents_BFYXC, text_BNWD=text_BWD)
    return jax.tree.map(
      lambda old, one: jnp.concatenate([old[:, 1:], one[:, None]], 1), self, new
    )


@chex.dataclass(frozen=True, mappable_dataclass=False)
class RolloutState:
  """The state of B films between two chunks."""

  bank: bank_lib.Bank  # under the film's prompts
  negative: bank_lib.Bank | None  # under the negative prompt; None: unguided
  start_B: jax.Array  # int32, latent frame index of the next chunk
  shot_B: jax.Array  # int32, shot index of the last chunk
  key_B: jax.Array  # typed PRNG keys, one for each film
  pending: Pending | None  # None: commits are not fused
  recent: Recent | None  # None: the window is read as it was committed


def init_state(
  dit: DiTConfig,
  memory: MemoryConfig,
  *,
  key_B: jax.Array,
  latent_shape: tuple[int, int, int, int],
  text_shape: tuple[int, int],
  guided: bool,
  fused: bool,
) -> RolloutState:
  """The state before the first chunk of B films.

  Args:
    dit: sizes of the network whose keys and values the bank holds.
    memory: size and type of the bank, and whether the window is re-encoded.
    key_B: typed PRNG keys, one for each film.
    latent_shape: (F, Y, X, C) of a chunk.
    text_shape: (W, D) of an encoded prompt.
    guided: whether there is a bank for the negative prompt.
    fused: whether the commit of a chunk waits for the next chunk's first pass.
  """
  batch = key_B.shape[0]
  _, rows, columns = dit.patch
  _, height, width, _ = latent_shape

  def bank():
    return bank_lib.empty(
      layers=dit.layers,
      batch=batch,
      frames=memory.bank_frames,
      tokens=(height // rows) * (width // columns),
      heads=dit.heads,
      features=dit.head_features,
      dtype=jnp.dtype(dit.compute_dtype),
      storage=memory.dtype,
      counted=memory.evict == 'merge',
      archive=memory.archived_frames,
    )

  pending = Pending(
    latents_BFYXC=jnp.zeros((batch, *latent_shape), jnp.float32),
    text_BWD=jnp.zeros((batch, *text_shape), jnp.float32),
  )
  window = memory.window_frames // latent_shape[0]
  recent = Recent(
    latents_BNFYXC=jnp.zeros((batch, window, *latent_shape), jnp.float32),
    text_BNWD=jnp.zeros((batch, window, *text_shape), jnp.float32),
  )
  return RolloutState(
    bank=bank(),
    negative=bank() if guided else None,
    start_B=jnp.zeros(batch, jnp.int32),
    shot_B=jnp.zeros(batch, jnp.int32),
    key_B=jnp.copy(key_B),  # the state is donated; the caller's keys are not
    pending=pending if fused else None,
    recent=recent if memory.reencode else None,
  )
