"""Floating point operations of a function, counted from shapes.

Only what matrices multiply counts, 2 (rows)(columns)(inner) a product, as is
usual where models are compared: a compiler's own count takes the body of a
loop once, and knows nothing of kernels. A loop counts as often as it runs. How
often one runs whose end is drawn, and how often the dearest side of a branch
is taken, the caller knows.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core as jax_core


def count(
  fn: Callable[..., Any], *args: Any, often: float = 1.0, trips: float = 1.0
) -> int:
  """Of fn(*args); `args` are arrays or their shapes, and nothing is run.

  Of a branch the dearest side counts `often` times, the cheapest else; a loop
  without a known end runs `trips` times. Trace outside of a mesh, where shapes
  are those of whole arrays.

  Raises ValueError if there are kernels in it, whose inside is not counted.
  """

  def of(jaxpr: jax_core.Jaxpr) -> float:
    return sum(of_equation(equation) for equation in jaxpr.eqns)

  def of_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      return _product(equation)
    if name == 'conv_general_dilated':
      return _convolution(equation)
    if name == 'pallas_call':
      raise ValueError('a kernel hides its products; count with attention xla')
    inside = [of(jaxpr) for jaxpr in _inner(params)]
    if name == 'cond':
      return often * max(inside) + (1 - often) * min(inside)
    times = {'scan': params.get('length'), 'while': trips}.get(name, 1)
    return times * sum(inside)

  return round(of(jax.make_jaxpr(fn)(*args).jaxpr))


def _product(equation: Any) -> int:
  left, right = (variable.aval.shape for variable in equation.invars)
  (_, contract_right), (_, batch_right) = equation.params['dimension_numbers']
  taken = {*contract_right, *batch_right}
  free_right = [n for axis, n in enumerate(right) if axis not in taken]
  return 2 * math.prod(left) * math.prod(free_right)


def _convolution(equation: Any) -> int:
  kernel = equation.invars[1].aval.shape
  out_axis = equation.params['dimension_numbers'].rhs_spec[0]
  out = equation.outvars[0].aval.shape
  return 2 * math.prod(out) * math.prod(kernel) // kernel[out_axis]


def _inner(params: dict[str, Any]) -> Iterator[jax_core.Jaxpr]:
  for value in jax.tree.leaves(params, is_leaf=_is_jaxpr):
    if _is_jaxpr(value):
      yield getattr(value, 'jaxpr', value)


def _is_jaxpr(value: Any) -> bool:
  return isinstance(value, jax_core.Jaxpr | jax_core.ClosedJaxpr)
