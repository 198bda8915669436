"""Everything a film in the making carries from chunk to chunk.

An immutable pytree of fixed shapes, so that one executable serves every
chunk; donated to it, so that memory is constant.
"""

import chex
import jax
import jax.numpy as jnp

from cinejax.memory import bank as bank_lib
from cinejax.memory.config import MemoryConfig
from cinejax.models.config import DiTConfig


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ChunkInput:
  """What is asked of the next chunk; may be decided while the film runs."""

  text_BWD: jax.Array  # float32, its prompt
  cut_B: jax.Array  # bool, it opens a new shot
  # float32, its first latent frame where that is given: an image; None: noise
  image_BYXC: jax.Array | None = None


@chex.dataclass(frozen=True, mappable_dataclass=False)
class ChunkOutput:
  """What a step gives."""

  latents_BFYXC: jax.Array  # float32, normalised
  # int32, frames routed at each denoising step; EMPTY at steps not run
  frame_JLBR: jax.Array


@chex.dataclass(frozen=True, mappable_dataclass=False)
class LastPass:
  """What the pass that made a chunk was given: it can be run again."""

  x_BFYXC: jax.Array  # noisy
  t_B: jax.Array
  ranks_LBSR: tuple[jax.Array, ...]  # what it routed, of each branch


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Pending:
  """A finished chunk whose commit rides with the next chunk (fused)."""

  latents_BFYXC: jax.Array
  text_BWD: jax.Array


@chex.dataclass(frozen=True, mappable_dataclass=False)
class Recent:
  """The window's chunks, oldest first: what `memory.reencode` runs again."""

  latents_BNFYXC: jax.Array  # N = V / F
  text_BNWD: jax.Array

  def push(self, latents_BFYXC: jax.Array, text_BWD: jax.Array) -> 'Recent':
    """With a new chunk, and without the oldest."""
    new = Recent(latents_BNFYXC=latents_BFYXC, text_BNWD=text_BWD)
    return jax.tree.map(
      lambda old, one: jnp.concatenate([old[:, 1:], one[:, None]], 1), self, new
    )


@chex.dataclass(frozen=True, mappable_dataclass=False)
class RolloutState:
  bank: bank_lib.Bank  # under the film's prompts
  negative: bank_lib.Bank | None  # under the negative prompt; None: unguided
  start_B: jax.Array  # int32, latent frame index of the next chunk
  shot_B: jax.Array  # int32, shot of the last chunk
  key_B: jax.Array  # typed keys, one a film: noise is a film's own
  pending: Pending | None  # None: commits are separate
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
  """A film that has not begun, for each of key_B (typed PRNG keys).

  latent_shape is (F, Y, X, C) of a chunk, text_shape (W, D) of a caption.
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
