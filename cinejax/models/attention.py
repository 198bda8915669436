"""One attention function; the implementation is the platform's business.

  auto   cuDNN flash attention on NVIDIA in half precision, else XLA
  xla    everywhere
  cudnn  NVIDIA, bfloat16 or float16

Instead of a mask there is a length: valid keys come first. A mask would be
materialised by cuDNN as a dense bias.
"""

import jax
import jax.numpy as jnp


def attend(
  q_BTHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  length_B: jax.Array | None = None,
  implementation: str = 'auto',
) -> jax.Array:
  """softmax(q k^T / sqrt(K)) v over the first length_B keys: [B, T, H, K]."""
  if implementation == 'auto':
    half = q_BTHK.dtype in (jnp.bfloat16, jnp.float16)
    on_gpu = jax.default_backend() == 'gpu'
    implementation = 'cudnn' if half and on_gpu else 'xla'
  query_length_B = None
  if length_B is not None and implementation == 'cudnn':
    query_length_B = jnp.full_like(length_B, q_BTHK.shape[1])
  return jax.nn.dot_product_attention(
    q_BTHK,
    k_BMHK,
    v_BMHK,
    query_seq_lengths=query_length_B,
    key_value_seq_lengths=length_B,
    implementation=implementation,
  )
