"""Counts the floating point operations of a function from shapes.

Only matrix products and convolutions count, with 2 (rows)(columns)(inner)
operations per product, as is usual when models are compared. The count of a
compiler is not used, because it takes the body of a loop once and does not
include kernels. Here a loop counts as often as it runs. The caller provides
what shapes do not tell: the trips of a loop without a static length, and how
often the more expensive side of a branch is taken.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core as jax_core

# The name of jitted functions that compute something again, which models are
# not compared by.
RECOMPUTED = 'recomputed'


def count(
  fn: Callable[..., Any], *args: Any, often: float = 1.0, trips: float = 1.0
) -> int:
  """Floating point operations of fn(*args), which is traced but not run.

  Call this outside of a mesh, so that shapes are those of whole arrays.

  Args:
    fn: the function.
    *args: arrays, or their shapes.
    often: share of the calls in which the most expensive side of a branch is
      taken; in the others it is the cheapest side.
    trips: how often a loop without a static length runs.

  Raises ValueError if the function contains a kernel, which cannot be counted.
  """

  def count_jaxpr(jaxpr: jax_core.Jaxpr) -> float:
    return sum(count_equation(equation) for equation in jaxpr.eqns)

  def count_equation(equation: Any) -> float:
    name, params = equation.primitive.name, equation.params
    if name == 'dot_general':
      return _product(equation)
    if name == 'conv_general_dilated':
      return _convolution(equation)
    if name == 'pallas_call':
      raise ValueError('a kernel hides its products; count with attention xla')
    if name in ('jit', 'pjit') and params.get('name') == RECOMPUTED:
      return 0
    inside = [count_jaxpr(jaxpr) for jaxpr in _inner(params)]
    if name == 'cond':
      return often * max(inside) + (1 - often) * min(inside)
    times = {'scan': params.get('length'), 'while': trips}.get(name, 1)
    return times * sum(inside)

  return round(count_jaxpr(jax.make_jaxpr(fn)(*args).jaxpr))


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
