"""One attention function; the implementation is the platform's business.

  auto    splash on TPU; cuDNN on NVIDIA in half precision; else XLA
  xla     everywhere
  cudnn   NVIDIA, bfloat16 or float16
  splash  TPU; interpreted elsewhere, for tests

Instead of a mask there is a length: valid keys come first. A mask would be
materialised by cuDNN as a dense bias. What cannot be said so, the history of
a film, has a function of its own, `attend_film`.

On a mesh each device attends for its films and heads alone: `tensor` and
`sequence` together split the heads here, while outside of attention
`sequence` splits tokens (models/dit.py); XLA puts the exchange between the
two (DeepSpeed-Ulysses, Jacobs et al. 2023).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from absl import logging

from cinejax.core import sharding
from cinejax.models import film_attention, splash

# of [B, T, H, K], by what `sequence` splits
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
) -> jax.Array:
  """softmax(q k^T / sqrt(K)) v over the first length_B keys: [B, T, H, K].

  With `by_query` the axis `sequence` splits queries, not heads: cheaper where
  keys are few and on every device anyway, as a caption's.
  """
  queries, keys = (_QUERIES, _KEYS) if by_query else (_HEADS, _HEADS)
  arrays = [(q_BTHK, queries), (k_BMHK, keys), (v_BMHK, keys)]
  if length_B is not None:
    arrays.append((length_B, (sharding.BATCH_AXES,)))
  return _on_mesh(functools.partial(_dense, implementation), arrays)


def attend_film(
  q_BSTHK: jax.Array,
  k_BSTHK: jax.Array,
  v_BSTHK: jax.Array,
  chunks: int,
  implementation: str = 'auto',
) -> jax.Array:
  """Attention within the segments [clean 1..N | noisy 1..N ...], eq. (4).

  Segment i of any copy sees the clean segments before i, and itself. On TPU it
  is one call with a computed mask, with cuDNN one dense call a segment,
  elsewhere film_attention.py: no mask, and no array of the film's length
  squared, anywhere.

  Args:
    q_BSTHK: queries of the last S segments, whole copies of the film.
    k_BSTHK: keys of all segments.
    v_BSTHK: values of all segments.
    chunks: N, segments of a copy.
    implementation: as of `attend`.
  """
  chosen = choose(
    implementation, q_BSTHK.dtype, q_BSTHK[:, 0].shape, q_BSTHK[:, 0].shape
  )
  arrays = [(x, _FILM) for x in (q_BSTHK, k_BSTHK, v_BSTHK)]
  if chosen == 'splash':
    interpret = _platform() != 'tpu'
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
  """What `auto` means for such arrays on the devices in use."""
  platform, chosen = _platform(), implementation
  if implementation == 'auto':
    chosen = 'xla'
    half = dtype in (jnp.bfloat16, jnp.float16)
    # cuDNN's backward pass wants even lengths, and rows of 16 bytes
    even = not (q_shape[1] % 2 or k_shape[1] % 2 or q_shape[-1] % 8)
    if platform == 'gpu' and half and even:
      chosen = 'cudnn'
    elif platform == 'tpu' and q_shape[-1] % 128 == 0:
      chosen = 'splash'
  _announce(chosen, platform)
  return chosen


def announced() -> tuple[str, ...]:
  """What this process has attended by so far, `xla on cpu`, for reports."""
  return tuple(_announced)


def _announce(chosen: str, platform: str) -> None:
  """Once, however often attention is traced."""
  told = f'{chosen} on {platform}'
  if told not in _announced:
    _announced.append(told)
    # where there is a choice, all should see it
    level = logging.INFO if platform == 'cpu' else logging.WARNING
    logging.log(level, 'attention: %s', told)


def _platform() -> str:
  """cpu, gpu or tpu: of the mesh in use, else of this process's devices.

  The mesh may be of devices that are not here (cinejax.plan).
  """
  device = sharding.mesh_in_use().abstract_device
  platform = device.platform if device else jax.default_backend()
  return 'gpu' if platform == 'cuda' else platform


def _dense(implementation, q_BTHK, k_BMHK, v_BMHK, length_B=None):
  # by the shapes of one device: a part of a film's queries may be odd
  chosen = choose(implementation, q_BTHK.dtype, q_BTHK.shape, k_BMHK.shape)
  if chosen == 'splash':
    interpret = _platform() != 'tpu'
    return splash.dense(q_BTHK, k_BMHK, v_BMHK, length_B, interpret)
  query_length_B = None
  if length_B is not None and chosen == 'cudnn':
    query_length_B = jnp.full_like(length_B, q_BTHK.shape[1])
    length_B = jnp.maximum(length_B, 1)  # of no keys it would make NaN
  return jax.nn.dot_product_attention(
    q_BTHK,
    k_BMHK,
    v_BMHK,
    query_seq_lengths=query_length_B,
    key_value_seq_lengths=length_B,
    implementation=chosen,
  )


def _rectangles(chosen, chunks, q_BSTHK, k_BSTHK, v_BSTHK):
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
  """local(*arrays), each device with its part; the result is split as q."""
  xs = [x for x, _ in arrays]
  if sharding.mesh_in_use().size <= 1:
    return local(*xs)
  specs = [sharding.spec(x.shape, *axes) for x, axes in arrays]
  return jax.shard_map(
    local,
    in_specs=tuple(specs),
    out_specs=specs[0],
    check_vma=False,  # kernels do not say how their results vary
  )(*xs)
