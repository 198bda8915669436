"""Low-rank adapters, trained in place of the kernels that they are added to.

    y = x W + (alpha / r) (x A) B                                            (1)
    W' = W + (alpha / r) A B                                                 (2)

A [in, r] is drawn uniformly, as PyTorch initialises a kernel, and B [r, out] is
zero, so that training starts from the network itself. An adapter is a nested
dict with A and B, named `lora_down` and `lora_up`, of some kernels of a DiT.
`attach` puts them beside the kernels, where layers apply (1); `merge` adds them
to the kernels by (2). Kernels that are stacked over layers have stacked
adapters. (LoRA, Hu et al. 2021, section 4.1.)
"""

import re
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError

DOWN, UP = 'lora_down', 'lora_up'
Params = Any  # nested dict of arrays


def init_lora(
  params: Params, key: jax.Array, *, rank: int, targets: str
) -> Params:
  """A new float32 adapter of the kernels that `targets` matches.

  Args:
    params: those of a DiT, arrays or their shapes.
    key: draws A.
    rank: r.
    targets: regular expression that matches whole paths of layers, such as
      `blocks/.*_attention/.*`.

  Raises:
    UserError: no layer matches.
  """
  layers = {
    name.removesuffix('/kernel'): x.shape
    for name, x in tree_lib.paths(params).items()
    if name.endswith('/kernel')
  }
  chosen = [name for name in layers if re.fullmatch(targets, name)]
  if not chosen:
    raise UserError(
      f'no layer matches {targets}; layers are {", ".join(layers)}'
    )
  flat = {}
  for name, own in zip(chosen, jax.random.split(key, len(chosen)), strict=True):
    *stack, rows, columns = layers[name]
    bound = rows**-0.5
    flat[f'{name}/{DOWN}'] = jax.random.uniform(
      own, (*stack, rows, rank), jnp.float32, -bound, bound
    )
    flat[f'{name}/{UP}'] = jnp.zeros((*stack, rank, columns), jnp.float32)
  return tree_lib.nested(flat)


def attach(params: Params, lora: Params, scale: float) -> Params:
  """Puts the adapter beside the kernels, eq. (1); `scale` is alpha / r."""
  flat = {
    name: x * scale if name.endswith(UP) else x
    for name, x in tree_lib.paths(lora).items()
  }
  return tree_lib.nested(tree_lib.paths(params) | flat)


def merge(params: Params, lora: Params, scale: float) -> Params:
  """Adds the adapter to the kernels, eq. (2), which keep their types."""
  flat, adapter = tree_lib.paths(params), tree_lib.paths(lora)
  for name in adapter:
    layer, _, kind = name.rpartition('/')
    if kind == DOWN:
      change = scale * adapter[name] @ adapter[f'{layer}/{UP}']
      kernel = flat[f'{layer}/kernel']
      flat[f'{layer}/kernel'] = (kernel + change).astype(kernel.dtype)
  return tree_lib.nested(flat)
