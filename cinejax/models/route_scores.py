"""The pass of teacher forcing, returning which frames it would read, and why.

The scores of the router are those of CausalCine's equations (5) to (7), of
un-rotated queries and keys averaged over tokens, and have a gradient here,
which a rollout's router does not. Those of attention are averages of the logits
of all pairs of a segment's tokens and a frame's. The values say what a layer
knows of each frame. objectives/returns.py supervises all three.
"""

import dataclasses
import math
from collections.abc import Callable

import chex
import einops
import jax
import jax.numpy as jnp

from cinejax.memory import bank
from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig
from cinejax.models.frame_values import frame_means


@chex.dataclass(frozen=True, mappable_dataclass=False)
class RouteScores:
  """Scores of all E = N F clean frames, future ones too, for S segments."""

  router_BSE: jax.Array  # float32, by which frames are routed
  attention_BSHE: jax.Array  # float32, average logits of each head
  # Float32, averages over tokens, of the N clean and the S noisy segments.
  value_BSFD: jax.Array


@dataclasses.dataclass(frozen=True)
class RouteScoreRecorder:
  """Calls `mixer` and returns RouteScores of noisy segments as its `output`."""

  mixer: Callable  # see mixing.py

  @property
  def outputs_noisy_only(self) -> bool:
    return self.mixer.outputs_noisy_only

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    chunks, grid = self.mixer.chunks, self.mixer.grid
    noisy = k.shape[1] - chunks  # segments, behind those of the clean copy
    q, k = q[:, -noisy:], k[:, :chunks]
    router = _products(q, k, grid.frames).sum(2)
    rotated = (grid.rotate_film(x, chunks) for x in (q, k))
    attention = _products(*rotated, grid.frames)
    scores = RouteScores(
      router_BSE=router,
      attention_BSHE=attention,
      value_BSFD=frame_means(v, grid.frames),
    )
    return out, rank, scores


def _products(q_BSTHK, k_BNTHK, frames: int) -> jax.Array:
  """Averaged queries times descriptors by head [B, S, H, E], over sqrt(K)."""
  q_BSHK = jnp.mean(q_BSTHK, 2, dtype=jnp.float32)
  key_BEPHK = einops.rearrange(
    k_BNTHK, 'b n (f p) h k -> b (n f) p h k', f=frames
  )
  products = jnp.einsum('bshk,behk->bshe', q_BSHK, bank.descriptor(key_BEPHK))
  return products / math.sqrt(q_BSTHK.shape[-1])


def make_route_scores_film_fn(
  cfg: DiTConfig, memory: MemoryConfig, layers: tuple[int, ...]
) -> Callable[..., tuple[jax.Array, RouteScores]]:
  """Makes the network of denoiser.make_film_fn that returns scores, not ranks.

  Args:
    cfg: of the network.
    memory: as of make_film_fn.
    layers: numbers of the layers whose scores are returned.

  Returns:
    fn(params, clean_BNFYXC, noisy_BSFYXC, t_BSF, text_BNWD, shot_BN, key) ->
    (velocity_BSFYXC, scores), float32: RouteScores with a leading axis of
    layers.
  """
  return denoiser.make_recording_fn(cfg, memory, RouteScoreRecorder, layers)
