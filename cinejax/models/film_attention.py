"""Attention within a film as rectangles of scores, with a custom gradient.

The segments of a film are [clean 1..N | noisy 1..N | noisy 1..N ...]: one
clean copy and U noisy ones. Segment i of any copy sees the clean segments
before i, and itself,

  out_i = softmax(q_i [k_1 .. k_(i-1), k_i]^T / sqrt(K)) [v_1 .. v_i]      (1)

with k_1 .. k_(i-1) of the clean copy and k_i of the segment's own copy, which
is eq. (4) of CausalCine. All copies of chunk i share their past, so a chunk
costs two products of matrices, one with the past and one with itself, and needs
no mask.

The gradient recomputes the probabilities from the log-sum-exp of each row
(Dao et al. 2022, section 3.1) and adds each chunk's contribution to the
gradient of the past in place. Automatic differentiation would store every
probability, and would pad the gradient of every slice of the past to the length
of the film.
"""

import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from cinejax.models import remat


def attend(
  q_BSTHK: jax.Array, k_BSTHK: jax.Array, v_BSTHK: jax.Array, chunks: int
) -> jax.Array:
  """Equation (1).

  Args:
    q_BSTHK: queries of the last S segments, whole copies of the film.
    k_BSTHK: keys of all segments, the clean copy first.
    v_BSTHK: values of all segments.
    chunks: N, segments of a copy.

  Returns:
    The shape and type of the queries.
  """
  copies = q_BSTHK.shape[1] // chunks
  q = _by_chunk(q_BSTHK, chunks) * (1 / math.sqrt(q_BSTHK.shape[-1]))
  past_k, past_v = (
    x[:, :chunks].transpose(0, 3, 1, 2, 4) for x in (k_BSTHK, v_BSTHK)
  )
  own_k, own_v = (
    _by_chunk(x[:, -copies * chunks :], chunks) for x in (k_BSTHK, v_BSTHK)
  )
  out_BHNUTK = _film(q, past_k, past_v, own_k, own_v)
  out = out_BHNUTK.transpose(0, 3, 2, 4, 1, 5)
  return out.reshape(q_BSTHK.shape).astype(q_BSTHK.dtype)


def _by_chunk(x_BSTHK: jax.Array, chunks: int) -> jax.Array:
  """[B, U N, T, H, K] -> [B, H, N, U, T, K]: U copies of a chunk adjoin."""
  batch, _, tokens, heads, features = x_BSTHK.shape
  x = x_BSTHK.reshape(batch, -1, chunks, tokens, heads, features)
  return x.transpose(0, 4, 2, 1, 3, 5)


@jax.custom_vjp
def _film(q_BHNUTK, past_k_BHNTK, past_v_BHNTK, own_k_BHNUTK, own_v_BHNUTK):
  """Equation (1) for scaled queries, in their shape and float32."""
  return _forward(
    q_BHNUTK, past_k_BHNTK, past_v_BHNTK, own_k_BHNUTK, own_v_BHNUTK
  )[0]


def _forward(q, past_k, past_v, own_k, own_v):
  outs, sums = [], []
  for chunk in range(q.shape[2]):
    scores = _scores(q, past_k, own_k, chunk)
    top = jnp.maximum(
      *(x.max(-1, keepdims=True, initial=-jnp.inf) for x in scores)
    )
    past, own = (jnp.exp(x - top) for x in scores)
    total = past.sum(-1, keepdims=True) + own.sum(-1, keepdims=True)
    out = _product(own, own_v[:, :, chunk], 'bhutm,bhumk->bhutk')
    if chunk:
      out += _product(past, _before(past_v, chunk), 'bhutm,bhmk->bhutk')
    outs.append(out / total)
    sums.append(top + jnp.log(total))
  out, log_sum = (
    checkpoint_name(jnp.stack(x, 2), remat.NAME) for x in (outs, sums)
  )
  return out, (q, past_k, past_v, own_k, own_v, out, log_sum)


def _backward(residuals, g):
  q, past_k, past_v, own_k, own_v, out, log_sum = residuals
  # Rows are keys here, so that two of the three products need no transposition.
  shift, log_sum = (
    x[..., 0][..., None, :] for x in ((g * out).sum(-1, keepdims=True), log_sum)
  )
  past_gk = jnp.zeros(past_k.shape, jnp.float32)
  past_gv = jnp.zeros(past_v.shape, jnp.float32)
  gq, own_gk, own_gv = [], [], []
  for chunk in range(q.shape[2]):
    q_i, g_i, shift_i, sum_i = (x[:, :, chunk] for x in (q, g, shift, log_sum))
    gq_i, gk_i, gv_i = _pull(
      q_i, own_k[:, :, chunk], own_v[:, :, chunk], g_i, shift_i, sum_i
    )
    own_gk.append(gk_i)
    own_gv.append(gv_i)
    if chunk:
      flat = lambda x: x.reshape(*x.shape[:2], -1, x.shape[-1])  # noqa: E731
      row = lambda x: x.reshape(*x.shape[:2], 1, -1)  # noqa: E731
      gq_past, gk_past, gv_past = _pull(
        flat(q_i),
        _before(past_k, chunk),
        _before(past_v, chunk),
        flat(g_i),
        row(shift_i),
        row(sum_i),
      )
      gq_i += gq_past.reshape(gq_i.shape)
      shape = past_k[:, :, :chunk].shape
      past_gk = past_gk.at[:, :, :chunk].add(gk_past.reshape(shape))
      past_gv = past_gv.at[:, :, :chunk].add(gv_past.reshape(shape))
    gq.append(gq_i)
  gradients = (
    jnp.stack(gq, 2),
    past_gk,
    past_gv,
    jnp.stack(own_gk, 2),
    jnp.stack(own_gv, 2),
  )
  return tuple(
    x.astype(like.dtype)
    for x, like in zip(gradients, residuals[:5], strict=True)
  )


@jax.jit
def recomputed(k, q, log_sum):
  """Probabilities [..., keys, queries]; core/flops.py knows it by its name."""
  return jnp.exp(_product(k, q, '...mk,...tk->...mt') - log_sum)


def _pull(q, k, v, g, shift, log_sum):
  """Gradients of q, k and v by one rectangle of scores [..., keys, queries]."""
  p = recomputed(k, q, log_sum)
  gv = _product(p, g, '...mt,...tk->...mk')
  p *= _product(v, g, '...mk,...tk->...mt') - shift
  gk = _product(p, q, '...mt,...tk->...mk')
  return _product(p, k, '...mt,...mk->...tk'), gk, gv


_film.defvjp(_forward, _backward)


def _scores(q, past_k, own_k, chunk: int):
  """Scores of a chunk's queries with the past and with their own segment."""
  q_BHUTK = q[:, :, chunk]
  past = _product(q_BHUTK, _before(past_k, chunk), 'bhutk,bhmk->bhutm')
  own = _product(q_BHUTK, own_k[:, :, chunk], 'bhutk,bhumk->bhutm')
  return past, own


def _before(x_BHNTK: jax.Array, chunk: int) -> jax.Array:
  """[B, H, chunk T, K], those of the clean chunks before `chunk`."""
  batch, heads, _, tokens, features = x_BHNTK.shape
  return x_BHNTK[:, :, :chunk].reshape(batch, heads, chunk * tokens, features)


def _product(x: jax.Array, y: jax.Array, spec: str) -> jax.Array:
  return jnp.einsum(spec, x, y, preferred_element_type=jnp.float32)
