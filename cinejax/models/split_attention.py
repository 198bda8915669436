"""Attention whose keys are read in parts that are combined afterwards.

A GPU computes attention in tiles of 128 queries, as many at once as it has
multiprocessors. If the last round of them is nearly empty, it pays to read the
keys in n parts, each with all queries, in one call of n times as many tiles
that take 1 / n of the time. With the result o_i and log-sum-exp l_i of part i,

  o = sum_i w_i o_i,   w = softmax(l)                                      (1)

(Flash-decoding: Dao et al. 2023.) The log-sum-exp has no gradient here, so only
rollouts use it.
"""

import math

import jax
import jax.numpy as jnp

_TILE = 128  # queries
_MULTIPROCESSORS = 132  # of an H100 and an H200
_MOST = 4  # parts, of which each costs another result to be written and read


def parts(q_shape: tuple[int, ...], keys: int) -> int:
  """The number n of parts in which a GPU is done first.

  Args:
    q_shape: [B, T, H, K].
    keys: M; n divides it.
  """
  batch, tokens, heads, _ = q_shape
  tiles = batch * heads * math.ceil(tokens / _TILE)

  def rounds(n: int) -> float:
    # 5 % for each further result, so that parts are not made for nothing
    return math.ceil(n * tiles / _MULTIPROCESSORS) / n * (1 + 0.05 * (n - 1))

  return min((n for n in range(1, _MOST + 1) if keys % n == 0), key=rounds)


def attend(
  q_BTHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  length_B: jax.Array,
  count: int,
  implementation: str,
) -> jax.Array:
  """Equation (1) for `count` parts of equal length; see attention.attend.

  Args:
    q_BTHK: queries.
    k_BMHK: keys; `count` divides M.
    v_BMHK: values.
    length_B: how many keys are valid, the first ones, at least 1.
    count: n.
    implementation: cudnn, or xla, by which tests compute the same.
  """
  batch, length = k_BMHK.shape[:2]
  part = length // count
  k, v = (
    x.reshape(batch * count, part, *x.shape[2:]) for x in (k_BMHK, v_BMHK)
  )
  valid_Bn = length_B[:, None] - part * jnp.arange(count)[None]
  valid_Bn = jnp.clip(valid_Bn, 0, part)
  # A part without valid keys has no softmax; it gets one key and no weight.
  lengths = jnp.maximum(valid_Bn, 1).reshape(-1).astype(jnp.int32)
  q = jnp.repeat(q_BTHK, count, 0)
  fn = _by_cudnn if implementation == 'cudnn' else _by_xla
  out, sum_BHT = fn(q, k, v, lengths)
  out_BnTHK = out.reshape(batch, count, *out.shape[1:])
  sum_BnHT = sum_BHT.reshape(batch, count, *sum_BHT.shape[1:])
  sum_BnHT = jnp.where((valid_Bn > 0)[..., None, None], sum_BnHT, -jnp.inf)
  weight_BnTH = jnp.moveaxis(jax.nn.softmax(sum_BnHT, 1), 2, 3)
  return jnp.sum(weight_BnTH[..., None] * out_BnTHK, 1).astype(q_BTHK.dtype)


def _by_xla(q, k, v, lengths):
  """(out, log-sum-exp [B, H, T] in the type of the keys)."""
  out, sum_BTH = jax.nn.dot_product_attention(
    q,
    k,
    v,
    key_value_seq_lengths=lengths,
    implementation='xla',
    return_residual=True,
  )
  return out, jnp.moveaxis(sum_BTH, 1, 2)


def _by_cudnn(q, k, v, lengths):
  """(out, log-sum-exp [B, H, T] in float32).

  JAX's public function rounds the log-sum-exp to the type of the queries, which
  in bfloat16 would change weights by several percent (jax 0.10 to 0.12).
  """
  from jax._src.cudnn import fused_attention_stablehlo as cudnn

  return cudnn.dot_product_attention(
    q,
    k,
    v,
    q_seqlen=jnp.full_like(lengths, q.shape[1]),
    kv_seqlen=lengths,
    scale=q.shape[-1] ** -0.5,
    mask_type=cudnn.MaskType.PADDING,
    return_residual=True,
  )
