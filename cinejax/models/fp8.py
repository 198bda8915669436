"""Products and attention of rollouts in eight-bit floats: dit.precision=fp8.

Numbers of the type e4m3 have 4 bits of exponent and 3 of mantissa, up to 448.
An array x is stored as x_8 with a scale s for each slice of it:

  s = max |x| / 448,   x_8 = e4m3(x / s)                                   (1)
  x W = (x_8 W_8) s_x s_W                                                  (2)

W has a scale for each of its columns, which are stored when weights are loaded
(`quantized`), and x one for each token. Queries, keys and values have one each,
since cuDNN takes no more, and so have the results of attention, whose largest
magnitude is at most that of values. With probabilities P before they are
normalised, and p = 256, the largest power of two that they may have,

  out = e4m3(p P) v_8 s_v / (p sum P)                                      (3)

Where the hardware has no such products, they are computed from the same
eight-bit numbers in float32. cuDNN's attention in e4m3 takes no lengths, so a
context that is not yet full is read in the compute type. Norms, modulation,
time, captions, the head and all of training stay in their types.

(Formats: Micikevicius et al. 2022; scales: Shah et al. 2024, section 3.3.)
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.core import tree as tree_lib

E4M3 = jnp.float8_e4m3fn
LARGEST = 448.0
_PROBABILITY = 256.0  # p of eq. (3)
KERNEL, SCALE = 'kernel_e4m3', 'kernel_scale'
# The layers of a block that take most of its time.
_LAYERS = (
  'self_attention/query',
  'self_attention/key',
  'self_attention/value',
  'self_attention/out',
  'cross_attention/query',
  'cross_attention/out',
  'mlp_in',
  'mlp_out',
)


def quantize(
  x: jax.Array, axis: int | tuple[int, ...] | None
) -> tuple[jax.Array, jax.Array]:
  """Equation (1): (x_8, s), with a scale for each slice along `axis`.

  s is float32 and keeps the axes of x, with length 1 along `axis`; None: one
  scale for all of x.
  """
  x = x.astype(jnp.float32)
  largest = jnp.max(jnp.abs(x), axis, keepdims=True)
  scale = jnp.maximum(largest, 1e-12) / LARGEST
  return (x / scale).astype(E4M3), scale


def quantized(params: Any) -> Any:
  """`params` of a DiT, with the kernels of its blocks in e4m3.

  A kernel [..., D, G] becomes `kernel_e4m3` [..., G, D], the order that
  NVIDIA's products want, and `kernel_scale` [..., G].
  """
  flat = {}
  for name, x in tree_lib.paths(params['blocks']).items():
    layer, _, kind = name.rpartition('/')
    if kind == 'kernel' and layer.endswith(_LAYERS):
      kernel, scale = quantize(jnp.swapaxes(x, -1, -2), -1)
      flat[f'{layer}/{KERNEL}'] = kernel
      flat[f'{layer}/{SCALE}'] = scale[..., 0]
    else:
      flat[name] = x
  return params | {'blocks': tree_lib.nested(flat)}


def product(
  x: jax.Array,
  kernel: jax.Array,
  scale: jax.Array,
  dtype: jnp.dtype,
  native: bool,
) -> jax.Array:
  """Equation (2): [..., D] times a kernel [G, D] with a scale [G].

  With `native`, the product is one of eight-bit numbers.
  """
  x, scale_x = quantize(x, -1)
  wide = dtype if native else jnp.float32
  if not native:
    x, kernel = x.astype(wide), kernel.astype(wide)
  y = jax.lax.dot_general(
    x,
    kernel,
    (((x.ndim - 1,), (1,)), ((), ())),
    preferred_element_type=wide,
  )
  scale = scale.reshape((1,) * (y.ndim - 1) + (-1,))
  return (y.astype(jnp.float32) * scale_x * scale).astype(dtype)


def attend(
  q_BTHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  length_B: jax.Array,
  native: bool,
  plain: Callable[..., jax.Array],
) -> jax.Array:
  """Equation (3) if all keys are valid, else plain(q, k, v, length).

  With `native`, cuDNN computes it.
  """
  own = _by_cudnn if native else _emulated
  return jax.lax.cond(
    jnp.all(length_B == k_BMHK.shape[1]),
    lambda *x: own(*x[:3]),
    plain,
    q_BTHK,
    k_BMHK,
    v_BMHK,
    length_B,
  )


def _emulated(q_BTHK, k_BMHK, v_BMHK):
  (q, s_q), (k, s_k), (v, s_v) = (
    quantize(x, None) for x in (q_BTHK, k_BMHK, v_BMHK)
  )
  q, k, v = (x.astype(jnp.float32) for x in (q, k, v))
  score = jnp.einsum('bthk,bmhk->bhtm', q, k) * (s_q * s_k)
  score *= q.shape[-1] ** -0.5
  p = _PROBABILITY * jnp.exp(score - score.max(-1, keepdims=True))
  seen = jnp.einsum('bhtm,bmhk->bthk', p.astype(E4M3).astype(jnp.float32), v)
  out = seen / jnp.moveaxis(p.sum(-1), 1, 2)[..., None]
  # The result has eight bits too, and v_8 is at most 448.
  return (out.astype(E4M3).astype(jnp.float32) * s_v).astype(q_BTHK.dtype)


def _by_cudnn(q_BTHK, k_BMHK, v_BMHK):
  # JAX has no public name for it (jax 0.10 to 0.12).
  from jax._src.cudnn import fused_attention_stablehlo as cudnn

  (q, s_q), (k, s_k), (v, s_v) = (
    quantize(x, None) for x in (q_BTHK, k_BMHK, v_BMHK)
  )
  one = jnp.ones((1, 1, 1, 1), jnp.float32)
  scales = dict.fromkeys(cudnn.fp8_params_keys, one)  # also those of gradients
  scales |= {
    'descale_q': s_q,
    'descale_k': s_k,
    'descale_v': s_v,
    'scale_s': _PROBABILITY * one,
    'descale_s': one / _PROBABILITY,
    'scale_o': one / s_v,
  }
  out, _, _ = cudnn.dot_product_attention(
    q,
    k,
    v,
    fp8_params=scales,
    scale=q.shape[-1] ** -0.5,
    use_fp8=True,
  )
  return (out.astype(jnp.float32) * s_v).astype(q_BTHK.dtype)
