"""A film as a generator: chunks come out while prompts still come in."""

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
  """Yields (state after its call, output) chunk by chunk.

  A chunk's input is drawn only when its call starts, so that with
  `chunks_per_call` = 1 a prompt typed meanwhile takes effect at the next
  chunk. The state is donated to the next call: copy what must outlive it.
  """
  chunks = iter(chunks)
  while group := list(itertools.islice(chunks, chunks_per_call)):
    inputs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *group)
    state, outputs = scan_fn(params, state, inputs)
    for i in range(len(group)):
      yield state, jax.tree.map(lambda leaf, i=i: leaf[i], outputs)
