"""The pass of teacher forcing, returning what layers know of each frame.

The attention values of a layer are a projection of its input. Averaged over
the tokens of a frame they are small, so that those of all layers can be kept
(objectives/alignment.py reads them).
"""

import dataclasses
from collections.abc import Callable

import einops
import jax
import jax.numpy as jnp

from cinejax.memory.config import MemoryConfig
from cinejax.models import denoiser
from cinejax.models.config import DiTConfig


@dataclasses.dataclass(frozen=True)
class _FrameValueRecorder:
  """Calls `mixer` and returns mean values [B, S, F, D] as its `output`.

  They are those of the noisy segments, behind the clean copy.
  """

  mixer: Callable  # see mixing.py
  outputs_noisy_only = False

  def __call__(self, q, k, v, shared, layer, rank):
    out, rank, _ = self.mixer(q, k, v, shared, layer, rank)
    noisy = v.shape[1] - self.mixer.chunks
    return out, rank, frame_means(v[:, -noisy:], self.mixer.grid.frames)


def frame_means(v_BSTHK: jax.Array, frames: int) -> jax.Array:
  """Averages over the tokens of each of F frames, float32 [B, S, F, D]."""
  value_BSFPD = einops.rearrange(
    v_BSTHK, 'b s (f p) h k -> b s f p (h k)', f=frames
  )
  return value_BSFPD.mean(3, dtype=jnp.float32)


def make_frame_values_film_fn(
  cfg: DiTConfig, memory: MemoryConfig, layers: tuple[int, ...]
) -> Callable[..., tuple[jax.Array, jax.Array]]:
  """Makes the network of denoiser.make_film_fn that returns values, not ranks.

  Args:
    cfg: of the network.
    memory: as of make_film_fn.
    layers: numbers of the layers whose values are returned.

  Returns:
    fn(params, clean_BNFYXC, noisy_BSFYXC, t_BSF, text_BNWD, shot_BN, key) ->
    (velocity_BSFYXC, value_LBSFD), both float32: the values are those of the
    noisy segments, averaged over the tokens of each frame.
  """
  return denoiser.make_recording_fn(cfg, memory, _FrameValueRecorder, layers)
