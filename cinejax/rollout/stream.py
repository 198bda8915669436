"""A film as a generator, which yields chunks while prompts still arrive."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.rollout.scan import ScanFn
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState


def stream(
  scan_fn: ScanFn,
  params: Any,
  state: RolloutState,
  chunks: Iterable[ChunkInput],
  chunks_per_call: int = 1,
) -> Iterator[tuple[RolloutState, ChunkOutput]]:
  """Yields (state, output) chunk by chunk; the state is that after its call.

  The input of a chunk is taken from `chunks` only when its call starts, so that
  with `chunks_per_call` = 1 a prompt that is typed meanwhile takes effect at
  the next chunk. The state is donated to the next call: copy what must outlive
  it.
  """
  chunks = iter(chunks)
  while group := list(itertools.islice(chunks, chunks_per_call)):
    inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)
    state, outputs = scan_fn(params, state, inputs)
    for i in range(len(group)):
      yield state, jax.tree.map(lambda leaf, i=i: leaf[i], outputs)
