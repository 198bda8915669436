"""Attention, with an implementation for each platform.

  auto    splash on TPU; cuDNN on NVIDIA in half precision; else XLA
  xla     everywhere
  cudnn   NVIDIA, bfloat16 or float16
  splash  TPU; interpreted elsewhere, for tests

`attend` takes a number of valid keys, which come first, instead of a mask:
cuDNN would materialise a mask as a dense bias. The history of a film needs a
mask that no such number expresses, so `attend_film` computes it.

On a mesh each device computes its own films and heads. `tensor` and `sequence`
together split the heads here, while outside of attention `sequence` splits
tokens (models/block.py); XLA inserts the exchange between the two
(DeepSpeed-Ulysses, Jacobs et al. 2023).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging
from jax.ad_checkpoint import checkpoint_name

from cinejax.core import sharding
from cinejax.models import film_attention, fp8, remat, splash, split_attention

# Splits of [B, T, H, K] over devices; `sequence` splits heads or queries.
_HEADS = (sharding.BATCH_AXES, None, sharding.HEAD_AXES, None)
_QUERIES = (sharding.BATCH_AXES, 'sequence', 'tensor', None)
_KEYS = (sharding.BATCH_AXES, None, 'tensor', None)
_FILM = (sharding.BATCH_AXES, None, None, sharding.HEAD_AXES, None)

_announced: list[str] = []


def attend(
  q_BTHK: jax.Array,
  k_BMHK: jax.Array,
  v_BMHK: jax.Array,
  length_B: jax.Array | None = None,
  implementation: str = 'auto',
  by_query: bool = False,
  precision: str = 'compute',
  in_parts: bool = False,
) -> jax.Array:
  """softmax(q k^T / sqrt(K)) v.

  Args:
    q_BTHK: queries.
    k_BMHK: keys.
    v_BMHK: values.
    length_B: how many keys are valid, the first ones; None: all.
    implementation: auto, xla, cudnn or splash.
    by_query: whether the mesh axis `sequence` splits queries instead of heads,
      which is cheaper if there are few keys and every device has them all, as
      those of a caption.
    precision: compute | fp8, which needs `length_B` and heads of a multiple of
      16 features.
    in_parts: whether cuDNN may read keys in parts (split_attention.py), which
      needs `length_B` and has no gradient.

  Returns:
    [B, T, H, K] in the type of the queries.
  """
  queries, keys = (_QUERIES, _KEYS) if by_query else (_HEADS, _HEADS)
  arrays = [(q_BTHK, queries), (k_BMHK, keys), (v_BMHK, keys)]
  if length_B is not None:
    arrays.append((length_B, (sharding.BATCH_AXES,)))
  local = functools.partial(_dense, implementation, in_parts=in_parts)
  if precision == 'fp8':
    native = platform() == 'gpu'
    local = functools.partial(fp8.attend, native=native, plain=local)
  return _on_mesh(local, arrays)


def attend_film(
  q_BSTHK: jax.Array,
  k_BSTHK: jax.Array,
  v_BSTHK: jax.Array,
  chunks: int,
  implementation: str = 'auto',
) -> jax.Array:
  """Attention within the segments [clean 1..N | noisy 1..N ...], eq. (4).

  Segment i of any copy sees the clean segments before i, and itself. A TPU
  computes it in one call whose kernel derives the mask, cuDNN in one dense call
  for each segment, and XLA by film_attention.py. None of them stores a mask or
  an array of the film's length squared.

  Args:
    q_BSTHK: queries of the last S segments, whole copies of the film.
    k_BSTHK: keys of all segments.
    v_BSTHK: values of all segments.
    chunks: N, segments of a copy.
    implementation: as in `attend`.

  Returns:
    The shape and type of the queries.
  """
  chosen = choose(
    implementation, q_BSTHK.dtype, q_BSTHK[:, 0].shape, q_BSTHK[:, 0].shape
  )
  arrays = [(x, _FILM) for x in (q_BSTHK, k_BSTHK, v_BSTHK)]
  if chosen == 'splash':
    interpret = platform() != 'tpu'
    local = functools.partial(splash.film, chunks=chunks, interpret=interpret)
  elif chosen == 'cudnn':
    local = functools.partial(_rectangles, chosen, chunks)
  else:
    local = functools.partial(film_attention.attend, chunks=chunks)
  return _on_mesh(local, arrays)


def choose(
  implementation: str,
  dtype: jnp.dtype,
  q_shape: tuple[int, ...],
  k_shape: tuple[int, ...],
) -> str:
  """The implementation that is used for such arrays on the devices in use.

  Args:
    implementation: what the config asks for; all but `auto` is returned as is.
    dtype: of queries and keys.
    q_shape: [B, T, H, K].
    k_shape: [B, M, H, K].
  """
  here, chosen = platform(), implementation
  if implementation == 'auto':
    chosen = 'xla'
    half = dtype in (jnp.bfloat16, jnp.float16)
    # cuDNN's backward pass needs even lengths, and rows of 16 bytes.
    even = not (q_shape[1] % 2 or k_shape[1] % 2 or q_shape[-1] % 8)
    if here == 'gpu' and half and even:
      chosen = 'cudnn'
    elif here == 'tpu' and q_shape[-1] % 128 == 0:
      chosen = 'splash'
  _announce(chosen, here)
  return chosen


def announced() -> tuple[str, ...]:
  """The implementations that this process has used so far, as `xla on cpu`."""
  return tuple(_announced)


def _announce(chosen: str, here: str) -> None:
  """Logs an implementation once, however often attention is traced."""
  line = f'{chosen} on {here}'
  if line not in _announced:
    _announced.append(line)
    # On accelerators there is a choice, so the line is shown by default.
    level = logging.INFO if here == 'cpu' else logging.WARNING
    logging.log(level, 'attention: %s', line)


def platform() -> str:
  """cpu, gpu or tpu: of the mesh in use, else of this process's devices.

  cinejax.plan compiles for a mesh of devices that this process does not have.
  """
  device = sharding.mesh_in_use().abstract_device
  name = device.platform if device else jax.default_backend()
  return 'gpu' if name == 'cuda' else name


def _dense(
  implementation, q_BTHK, k_BMHK, v_BMHK, length_B=None, in_parts=False
):
  # Chosen by the shapes on one device, where the number of queries may be odd.
  chosen = choose(implementation, q_BTHK.dtype, q_BTHK.shape, k_BMHK.shape)
  if chosen == 'splash':
    interpret = platform() != 'tpu'
    return splash.dense(q_BTHK, k_BMHK, v_BMHK, length_B, interpret)
  if in_parts and chosen == 'cudnn':
    count = split_attention.parts(q_BTHK.shape, k_BMHK.shape[1])
    if count > 1:
      length_B = jnp.maximum(length_B, 1)
      return split_attention.attend(
        q_BTHK, k_BMHK, v_BMHK, length_B, count, chosen
      )
  query_length_B = None
  if length_B is not None and chosen == 'cudnn':
    query_length_B = jnp.full_like(length_B, q_BTHK.shape[1])
    length_B = jnp.maximum(length_B, 1)  # no valid key would give NaN
  out = jax.nn.dot_product_attention(
    q_BTHK,
    k_BMHK,
    v_BMHK,
    query_seq_lengths=query_length_B,
    key_value_seq_lengths=length_B,
    implementation=chosen,
  )
  return checkpoint_name(out, remat.NAME) if chosen == 'xla' else out


def _rectangles(chosen, chunks, q_BSTHK, k_BSTHK, v_BSTHK):
  """`attend_film` in one dense call for each segment that has queries."""
  tokens, skipped = q_BSTHK.shape[2], k_BSTHK.shape[1] - q_BSTHK.shape[1]
  past_k, past_v = (
    x[:, :chunks].reshape(x.shape[0], chunks * tokens, *x.shape[3:])
    for x in (k_BSTHK, v_BSTHK)
  )
  outs = []
  for segment in range(skipped, k_BSTHK.shape[1]):
    seen = segment % chunks * tokens
    k, v = (
      jnp.concatenate([past[:, :seen], own[:, segment]], 1)
      for past, own in ((past_k, k_BSTHK), (past_v, v_BSTHK))
    )
    outs.append(_dense(chosen, q_BSTHK[:, segment - skipped], k, v))
  return jnp.stack(outs, 1)


def _on_mesh(
  local: Callable[..., jax.Array],
  arrays: list[tuple[jax.Array, tuple[object, ...]]],
) -> jax.Array:
  """local(*arrays) on each device's part; the result is split like queries."""
  xs = [x for x, _ in arrays]
  if sharding.mesh_in_use().size <= 1:
    return local(*xs)
  specs = [sharding.spec(x.shape, *axes) for x, axes in arrays]
  return jax.shard_map(
    local,
    in_specs=tuple(specs),
    out_specs=specs[0],
    check_vma=False,  # kernels do not declare over which axes results vary
  )(*xs)
