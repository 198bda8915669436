"""The pass of teacher forcing, returning the router's scores of all frames.

The scores are those of CausalCine's equations (5) to (7), of un-rotated queries
and keys averaged over tokens, and have a gradient here, which a rollout's
router does not (objectives/returns.py supervises them).
"""

import dataclasses
import math
from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp

from cinejax.memory import bank
from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig


@dataclasses.dataclass(frozen=True)
class _RouteScoreRecorder:
  """Calls `mixer` and returns scores [B, S, N F] as its `output`."""

  mixer: Callable  # see mixing.py

  @property
  def outputs_noisy_only(self) -> bool:
    return self.mixer.outputs_noisy_only

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    chunks = self.mixer.chunks
    noisy = k.shape[1] - chunks  # segments, behind those of the clean copy
    q_BSHK = jnp.mean(q[:, -noisy:], 2, dtype=jnp.float32)
    key_BEPHK = einops.rearrange(
      k[:, :chunks], 'b n (f p) h k -> b (n f) p h k', f=self.mixer.grid.frames
    )
    score_BSE = jnp.einsum('bshk,behk->bse', q_BSHK, bank.descriptor(key_BEPHK))
    return out, rank, score_BSE / math.sqrt(q.shape[-1])


def make_route_scores_film_fn(
  cfg: DiTConfig, memory: MemoryConfig, layers: tuple[int, ...]
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Makes the network of denoiser.make_film_fn that returns scores, not ranks.

  Args:
    cfg: of the network.
    memory: as of make_film_fn.
    layers: numbers of the layers whose scores are returned.

  Returns:
    fn(params, clean_BNFYXC, noisy_BSFYXC, t_BSF, text_BNWD, shot_BN, key) ->
    (velocity_BSFYXC, score_LBSE), both float32: the scores of all E = N F clean
    frames, future ones too, for each noisy segment, divided by sqrt(K).
  """
  return denoiser.make_recording_fn(cfg, memory, _RouteScoreRecorder, layers)
