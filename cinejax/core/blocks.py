"""Functions of one example, applied to many in blocks that suit the device."""

from collections.abc import Callable
from typing import Any

import jax


def map_in_blocks(
  fn: Callable[[Any], Any], examples: Any, cpu_block: int
) -> Any:
  """fn(example) of every example, stacked; may be called under jit.

  A CPU computes `cpu_block` examples at a time, which keeps its working set in
  the cache. Other devices compute all at once: there, the start of many small
  programs takes longer than the programs.

  Args:
    fn: a pure function of one example.
    examples: a tree of arrays with a leading axis of examples.
    cpu_block: how many examples a CPU computes at a time.
  """
  return jax.lax.platform_dependent(
    examples,
    cpu=lambda x: jax.lax.map(fn, x, batch_size=cpu_block),
    default=jax.vmap(fn),
  )
