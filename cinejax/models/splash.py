"""Flash attention on TPU: JAX's splash kernels, forward and backward.

Lengths are padded to whole blocks. Padding is masked by segment ids or, in a
film, by its place at the end. The backward pass is not the fused one, which
stores a partial dq for each block of keys: 8 GiB for 65,536 tokens of four
heads. Without a TPU the kernels are interpreted, which is slow but correct.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_kernel as kernels,
)
from jax.experimental.pallas.ops.tpu.splash_attention import (
  splash_attention_mask as masks,
)

from cinejax.models import remat

_LANES = 128
_BLOCKS = range(1024, 0, -_LANES)
_WASTE = 1.1  # greatest padding for the sake of a larger block, as a ratio


class FilmMask(masks._ComputableMask):
  """The mask of [clean 1..N | noisy 1..N ...], eq. (4).

  There are `chunks` = N chunks of `tokens` each. Queries are those of the
  segments after the first `skipped`; both axes are padded at the end up to
  `shape`. A segment sees the clean segments before its chunk, and itself. The
  kernel computes the mask from positions; no array of this shape is made.
  """

  def __init__(
    self, chunks: int, tokens: int, skipped: int, shape: tuple[int, int]
  ):
    self._chunks, self._tokens, self._skipped = chunks, tokens, skipped

    def sees(q, k):
      q_segment, k_segment = q // tokens + skipped, k // tokens
      past = (k_segment < chunks) & (k_segment < q_segment % chunks)
      return past | (q_segment == k_segment)

    super().__init__(shape, sees)
    self._blocks = functools.cache(self._seen)  # few pairs of segments differ

  def __getitem__(self, index):
    """Returns a stand-in [1, 2] for a block, with the same any() and all().

    Splash calls nothing else, but it does so for every block and stores a copy
    of those that are partly seen: gigabytes, and minutes, for a film of 60
    latent frames at 480p.
    """
    rows, columns = (
      (part.start // self._tokens, (part.stop - 1) // self._tokens)
      for part in index
    )
    return self._blocks(*rows, *columns)

  def _seen(self, *chunks: int) -> np.ndarray:
    """[any, all] of the mask between a range of segments of q and one of k."""
    first_q, last_q, first_k, last_k = chunks
    rows = np.arange(first_q, last_q + 1) * self._tokens
    columns = np.arange(first_k, last_k + 1) * self._tokens
    corners = self.mask_function(rows[:, None], columns[None])
    return np.array([[corners.any(), corners.all()]])

  def __eq__(self, other: object) -> bool:
    return type(other) is type(self) and self._key == other._key

  def __hash__(self) -> int:
    return hash(self._key)

  @property
  def _key(self):
    return self._chunks, self._tokens, self._skipped, self.shape


def dense(
  q_BTHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  length_B: jax.Array | None,
  interpret: bool,
) -> jax.Array:
  """Attention [B, T, H, K] to the first `length_B` keys; None: to all."""
  batch, queries, heads, _ = q_BTHK.shape
  block_q, padded_q = _padded(queries)
  block_k, padded_k = _padded(k_BMHK.shape[1])
  if length_B is None:
    length_B = jnp.full(batch, k_BMHK.shape[1], jnp.int32)
  beyond_BM = jnp.arange(padded_k)[None] >= length_B[:, None]
  kernel = _kernel(
    masks.FullMask((padded_q, padded_k)), heads, block_q, block_k, interpret
  )
  ids = kernels.SegmentIds(
    q=jnp.zeros((batch, padded_q), jnp.int32), kv=beyond_BM.astype(jnp.int32)
  )
  out = jax.vmap(kernel)(
    _heads_first(_scaled(q_BTHK), padded_q),
    _heads_first(k_BMHK, padded_k),
    _heads_first(v_BMHK, padded_k),
    ids,
  )
  return out.swapaxes(1, 2)[:, :queries]


def film(
  q_BSTHK: jax.Array,
  k_BSTHK: jax.Array,
  v_BSTHK: jax.Array,
  chunks: int,
  interpret: bool,
) -> jax.Array:
  """Attention [B, S, T, H, K] within [clean 1..N | noisy 1..N ...], eq. (4),

  Arguments are those of `attention.attend_film`.
  """
  tokens, heads, features = q_BSTHK.shape[2:]
  queries, keys = (x.shape[1] * tokens for x in (q_BSTHK, k_BSTHK))
  (block_q, padded_q), (block_k, padded_k) = _padded(queries), _padded(keys)
  skipped = k_BSTHK.shape[1] - q_BSTHK.shape[1]
  mask = FilmMask(chunks, tokens, skipped, (padded_q, padded_k))
  q, k, v = (
    _heads_first(x.reshape(len(x), -1, heads, features), padded)
    for x, padded in (
      (_scaled(q_BSTHK), padded_q),
      (k_BSTHK, padded_k),
      (v_BSTHK, padded_k),
    )
  )
  out = jax.vmap(_kernel(mask, heads, block_q, block_k, interpret))(q, k, v)
  return out.swapaxes(1, 2)[:, :queries].reshape(q_BSTHK.shape)


def _padded(length: int) -> tuple[int, int]:
  """The size of a block, and `length` padded to whole blocks.

  The block is the largest for which the padding stays small.
  """
  least = -(-length // _LANES) * _LANES
  for block in _BLOCKS:
    padded = -(-length // block) * block
    if padded <= _WASTE * least:
      return block, padded
  raise AssertionError('a block of _LANES always pads to the least')


def _scaled(q: jax.Array) -> jax.Array:
  return (q.astype(jnp.float32) * q.shape[-1] ** -0.5).astype(q.dtype)


def _heads_first(x_BMHK: jax.Array, length: int) -> jax.Array:
  missing = length - x_BMHK.shape[1]
  x = jnp.pad(x_BMHK, ((0, 0), (0, missing), (0, 0), (0, 0)))
  return x.swapaxes(1, 2)


def _kernel(
  mask: masks.Mask, heads: int, block_q: int, block_k: int, interpret: bool
) -> kernels.SplashAttentionKernel:
  """Makes a kernel of q [H, T, K], k and v [H, M, K] -> [H, T, K].

  It is made in each trace, because its tables are constants of the trace;
  splash caches the expensive ones by mask.
  """
  sizes = kernels.BlockSizes(
    block_q=block_q,
    block_kv=block_k,
    block_kv_compute=block_k,
    block_q_dkv=block_q,
    block_kv_dkv=block_k,
    block_kv_dkv_compute=block_k,
    block_q_dq=block_q,
    block_kv_dq=block_k,
  )
  return kernels.make_splash_mha_single_device(
    masks.MultiHeadMask([mask] * heads),
    block_sizes=sizes,
    residual_checkpoint_name=remat.NAME,
    interpret=interpret,
  )
