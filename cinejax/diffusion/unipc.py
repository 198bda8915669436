"""UniPC of order 2 (Zhao et al., arXiv 2302.04867), for flow matching.

It is a multistep predictor and corrector, and the sampler of Wan 2.1. Let
a = 1 - t, l = log(a / t), h = l' - l, and let m_j be the x_0 that the network
predicts at step j:

    predict  x' = t'/t x - a' B (m_j     + D / 2),          B = exp(-h) - 1 (1)
    correct  x' = t'/t x - a' B (m_j + p D + q (m_j+1 - m_j))               (2)
    D = (m_j-1 - m_j) / r,   r = (l_j-1 - l_j) / h                          (3)
    p + q = b_1 / B,   r p + q = 2 b_2 / B,
    b_1 = -B / h - 1,   b_2 = -b_1 / h - 1/2                                (4)

The first and the last step are of order 1: D = 0, q = 1/2. Eq. (2) uses the
network's prediction at the end of (1), which the next step needs anyway: each
step first corrects the one before. Everything is linear in x and m, with
coefficients that depend on the grid alone; `table` computes them in float64.
"""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np

from cinejax.diffusion import flow

# the first time instead of 1, where l is infinite; as in diffusers
_ALMOST_NOISE = 1 - 1e-6


@chex.dataclass(frozen=True, mappable_dataclass=False)
class History:
  """What a step needs from the two steps before it."""

  x: jax.Array  # at the start of the step before
  x0: jax.Array  # m_j-1
  older_x0: jax.Array  # m_j-2


def no_history(x: jax.Array) -> History:
  """The history before the first step from `x`."""
  zero = jnp.zeros_like(x)
  return History(x=zero, x0=zero, older_x0=zero)


def step(
  x: jax.Array, v: jax.Array, t: jax.Array, history: History, row_C: jax.Array
) -> tuple[jax.Array, History]:
  """Takes step j, from t = t_j to t_j+1.

  Args:
    x: x_j as predicted.
    v: velocity at x.
    t: t_j; its axes are the first ones of x.
    history: of the step before; `no_history` before the first step.
    row_C: row j of `table`.

  Returns:
    x_j+1 as predicted, and the history.
  """
  m = flow.x0_of_velocity(x, v, t)
  c = list(row_C)
  x = c[0] * x + c[1] * history.x + c[2] * history.older_x0
  x = x + c[3] * history.x0 + c[4] * m
  predicted = c[5] * x + c[6] * history.x0 + c[7] * m
  return predicted, History(x=x, x0=m, older_x0=history.x0)


def table(grid_J: np.ndarray) -> np.ndarray:
  """The coefficients [J, 8], float32, of J + 1 descending times from 1 to 0.

  The first five give the corrected x_j from x_j as predicted, x_j-1, m_j-2,
  m_j-1 and m_j; the others give x_j+1 from the corrected x_j, m_j-1 and m_j.
  """
  t = np.asarray(grid_J, np.float64).copy()
  t[0] = min(t[0], _ALMOST_NOISE)
  steps = len(t) - 1
  rows = np.zeros((steps, 8))
  for j in range(steps):
    if j == 0:
      rows[j, 0] = 1.0
    else:
      rows[j, 1:5] = _corrector(t, j - 1, first=j == 1)
    rows[j, 5:] = _predictor(t, j, plain=j == 0 or j == steps - 1)
  return rows.astype(np.float32)


def _predictor(t: np.ndarray, j: int, plain: bool) -> tuple[float, ...]:
  """Eq. (1): the coefficients of x_j, m_j-1, m_j."""
  scale, weight, _ = _step(t, j)
  if plain:
    return scale, 0.0, weight
  slope = weight / 2 / _ratio(t, j)
  return scale, slope, weight - slope


def _corrector(t: np.ndarray, j: int, first: bool) -> tuple[float, ...]:
  """Eq. (2): the coefficients of x_j, m_j-1, m_j, m_j+1."""
  scale, weight, h = _step(t, j)
  if first:
    return scale, 0.0, weight / 2, weight / 2
  r = _ratio(t, j)
  grown = math.expm1(-h)
  b_1 = -grown / h - 1
  b_2 = -b_1 / h - 0.5
  p, q = np.linalg.solve([[1, 1], [r, 1]], [b_1 / grown, 2 * b_2 / grown])
  slope = weight * p / r
  return scale, slope, weight * (1 - q) - slope, weight * q


def _step(t: np.ndarray, j: int) -> tuple[float, float, float]:
  """t'/t, -a' B and h of step j."""
  h = _log_ratio(t[j + 1]) - _log_ratio(t[j])
  return t[j + 1] / t[j], -(1 - t[j + 1]) * math.expm1(-h), h


def _ratio(t: np.ndarray, j: int) -> float:
  """r of eq. (3)."""
  own = _log_ratio(t[j])
  return (_log_ratio(t[j - 1]) - own) / (_log_ratio(t[j + 1]) - own)


def _log_ratio(t: float) -> float:
  """l, which is infinite at t = 0."""
  return math.log((1 - t) / t) if t else math.inf
