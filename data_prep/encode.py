"""Encodes films of different lengths with one compiled program.

Codecs are causal: the latents of a film's first frames do not depend on later
frames. Films can therefore be padded at their end to one length, encoded
together, and their latents cut back to the length of each film.
"""

import functools
import hashlib
import itertools
import os
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cinejax.interop.archive import files_of
from cinejax.interop.weights import load_codec
from cinejax.models.codec.base import Codec, from_bytes
from cinejax.models.config import CodecConfig

# (videos [T, Y, X, 3] uint8, pixel frames to pad them to) -> latents of each
Encode = Callable[[Sequence[np.ndarray], int], list[np.ndarray]]


def make_encode(codec: Codec, params: Any) -> Encode:
  """A function that encodes videos to float16 latents [F, Y, X, C].

  It compiles once for each combination of number of videos, padded length and
  size.
  """

  @jax.jit
  def encode(params: Any, video_BTYXC: jax.Array) -> jax.Array:
    z_BFYXC = codec.encode(params, from_bytes(video_BTYXC))
    return z_BFYXC.astype(jnp.float16)

  def encode_videos(
    videos: Sequence[np.ndarray], pixel_frames: int
  ) -> list[np.ndarray]:
    video_BTYXC = np.stack([_pad(video, pixel_frames) for video in videos])
    z_BFYXC = np.asarray(encode(params, video_BTYXC))
    counts = [1 + (len(video) - 1) // codec.temporal_stride for video in videos]
    return [z[:count] for z, count in zip(z_BFYXC, counts, strict=True)]

  return encode_videos


@functools.lru_cache(maxsize=1)
def load_encode(cfg: CodecConfig, weights: str) -> Encode:
  """`make_encode` with weights on disk.

  Raises UserError if they cannot be read or do not fit the codec.
  """
  return make_encode(*load_codec(cfg, weights))


def encode_where_it_runs(
  cfg: CodecConfig,
  weights: str,
  videos: Sequence[np.ndarray],
  pixel_frames: int,
) -> list[np.ndarray]:
  """Encodes videos with a codec that is loaded once in each process.

  With its first two arguments bound this is an Encode that can be pickled.
  """
  return load_encode(cfg, weights)(videos, pixel_frames)


def fingerprint(*archives: str | os.PathLike) -> str:
  """Twelve hex digits that identify weights by every byte of their files.

  The files of an index are its shards. Raises UserError if one is missing.
  """
  digest = hashlib.sha256()
  for path in itertools.chain(*map(files_of, archives)):
    with path.open('rb') as file:
      hashlib.file_digest(file, lambda: digest)
  return digest.hexdigest()[:12]


def _pad(video_TYXC: np.ndarray, pixel_frames: int) -> np.ndarray:
  missing = pixel_frames - len(video_TYXC)
  return np.pad(video_TYXC, [(0, missing), (0, 0), (0, 0), (0, 0)], 'edge')
