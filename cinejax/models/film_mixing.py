"""Self-attention of whole films, which needs no routing (see mixing.py)."""

import dataclasses
from collections.abc import Callable

import einops
import jax.numpy as jnp

from cinejax.models import mixing
from cinejax.models.attention import attend, attend_film


@dataclasses.dataclass(frozen=True)
class BidirectionalMixer:
  """Every token of the real segments is seen by every token.

  `shared` [B] is the number of real segments of each film, its first ones;
  None: all.
  """

  grid: mixing.TokenGrid
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    batch, segments, tokens = q.shape[:3]
    length_B = None if shared is None else (shared * tokens).astype(jnp.int32)
    q, k, v = (
      einops.rearrange(x, 'b s t h k -> b (s t) h k') for x in (q, k, v)
    )
    frame_BF = jnp.broadcast_to(
      jnp.arange(segments * self.grid.frames),
      (batch, segments * self.grid.frames),
    )
    q, k = self.grid.rotate(q, frame_BF), self.grid.rotate(k, frame_BF)
    out = attend(q, k, v, length_B, self.grid.implementation)
    out = einops.rearrange(out, 'b (s t) h k -> b s t h k', s=segments)
    return out, rank, None


@dataclasses.dataclass(frozen=True)
class ValueRecorder:
  """Calls `mixer` and returns the values of every segment as its `output`."""

  mixer: Callable
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    return out, rank, v


@dataclasses.dataclass(frozen=True)
class FullHistoryMixer:
  """Equation (4) on [clean 1..N | noisy 1..N ...], absolute positions.

  The queries may be those of the last segments only.
  """

  grid: mixing.TokenGrid
  chunks: int  # N
  outputs_noisy_only = True

  def __call__(self, q, k, v, shared, layer, rank):
    q, k = (self.grid.rotate_film(x, self.chunks) for x in (q, k))
    out = attend_film(q, k, v, self.chunks, self.grid.implementation)
    return out, rank, None
