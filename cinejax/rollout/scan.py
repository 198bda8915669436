"""Several chunks of a film in one compiled call."""

from collections.abc import Callable
from typing import Any

import jax

from cinejax.rollout.placement import pinned
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState
from cinejax.rollout.step import Step

ScanFn = Callable[
  [Any, RolloutState, ChunkInput], tuple[RolloutState, ChunkOutput]
]


def make_scan(step: Step) -> ScanFn:
  """Makes scan(params, state, chunks) -> (state, outputs), jitted.

  Leaves of `chunks` and `outputs` have a leading axis of chunks; each length of
  it is compiled once. The state is donated: memory does not grow with the film,
  and the old state must not be used again.
  """

  def scan(params, state, chunks):
    def body(state, chunk):
      return step(params, state, chunk)

    state, outputs = jax.lax.scan(body, state, chunks)
    return pinned(state), outputs

  return jax.jit(scan, donate_argnums=1)
