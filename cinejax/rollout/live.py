"""A chunk in two compiled calls, so that its latents leave before its commit.

A device runs calls in the order in which they are dispatched. Whatever is
dispatched between the two, such as the decoding of the chunk, does not wait for
the pass that commits it. Both calls are compiled at the first chunk.
"""

import dataclasses
from collections.abc import Callable, Generator, Iterable
from typing import Any

import jax

from cinejax.rollout.placement import pinned
from cinejax.rollout.state import ChunkInput, ChunkOutput, RolloutState
from cinejax.rollout.step import Step


@dataclasses.dataclass(frozen=True)
class LiveStep:
  """A `Step` in two jitted functions, which donate the state."""

  denoise_fn: Callable[..., tuple[RolloutState, ChunkOutput]]
  end_fn: Callable[..., RolloutState]

  def __call__(
    self, params: Any, state: RolloutState, chunk: ChunkInput
  ) -> tuple[RolloutState, ChunkOutput]:
    """The state after the chunk, and the chunk."""
    state, output = self.denoise_fn(params, state, chunk)
    return self.end_fn(params, state, chunk, output), output

  def latents(
    self,
    params: Any,
    state: RolloutState,
    chunks: Iterable[ChunkInput],
    observe: Callable[[ChunkOutput], None] = lambda output: None,
  ) -> Generator[jax.Array, None, RolloutState]:
    """Yields latents_BFYXC of each chunk; returns the state after the last one.

    `observe` is called with the output of each chunk. The commit of a chunk is
    dispatched when the next one is requested, before the input of that is taken
    from `chunks`.
    """
    for chunk in chunks:
      state, output = self.denoise_fn(params, state, chunk)
      observe(output)
      yield output.latents_BFYXC
      state = self.end_fn(params, state, chunk, output)
    return state


def make_live(
  step: Step, place: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> LiveStep:
  """The LiveStep of a `step` that commits separately.

  `place` wraps the jitted functions, to call them on a mesh.
  """

  def denoise(params, state, chunk):
    state, output, *_ = step.denoise(params, state, chunk)
    return pinned(state), output

  def end(params, state, chunk, output):
    return pinned(step.end_chunk(params, state, chunk, output, None))

  return LiveStep(
    *(place(jax.jit(fn, donate_argnums=1)) for fn in (denoise, end))
  )
