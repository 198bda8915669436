"""A game beside distribution matching: a head tells films from a student's.

On the fake score's features of films noised at the same t,

  L_D = sp(-d(real_t)) + sp(d(fake_t)) + r1 |d'(real_t)|^2 + r2 |d'(fake_t)|^2
  L_G = sp(-d(fake_t)),   sp = softplus                                    (13)

with |d'|^2 by a finite difference, ((d(x + s n) - d(x)) / s)^2, s = .01. The
head alone learns from L_D: the score stays that of the student's films, as
eq. (12) needs it. What is real is whatever films the batch holds: data, or a
teacher's. (CausalCine, section 4; APT; Self Forcing's R1 and R2.)
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cinejax.diffusion import flow
from cinejax.objectives.guidance import Films

_STEP = 0.01  # s


@dataclasses.dataclass(frozen=True)
class Adversary:
  """Eq. (13). `values_fn` and `logit_fn` are of the score and of the head.

  values_fn(params, clean, noisy, t_BNF, text, shots, key) -> value_LBNTD,
  logit_fn(head, value_LBNTD) -> logit_BN.
  """

  values_fn: Callable[..., jax.Array]
  logit_fn: Callable[..., jax.Array]
  weight: float  # lambda of L_G
  r1: float
  r2: float

  def student_loss(
    self, score: Any, head: Any, film: Films, t_BNF, noise, key
  ) -> jax.Array:
    """lambda L_G; differentiable in film.clean_BNFYXC, as the noisy half."""
    x = flow.noised(film.clean_BNFYXC, noise, t_BNF)
    logit_BN = self._logit(score, head, film, x, t_BNF, key)
    return self.weight * film.mean(jax.nn.softplus(-logit_BN))

  def head_loss(
    self, score: Any, head: Any, pair: tuple[Films, Films], t_BNF, noise, key
  ) -> jax.Array:
    """L_D of `pair`, real films and made ones; differentiable in the head."""
    real, made = pair
    loss = jnp.float32(0)
    for films, sign, penalty in ((real, -1, self.r1), (made, 1, self.r2)):
      x = flow.noised(films.clean_BNFYXC, noise, t_BNF)
      logit_BN = self._logit(score, head, films, x, t_BNF, key)
      loss += films.mean(jax.nn.softplus(sign * logit_BN))
      if penalty:
        nudge = jax.random.normal(jax.random.fold_in(key, 1), x.shape)
        near_BN = self._logit(score, head, films, x + _STEP * nudge, t_BNF, key)
        slope_BN = (near_BN - logit_BN) / _STEP
        loss += penalty * films.mean(jnp.square(slope_BN))
    return loss

  def _logit(self, score, head, films: Films, x, t_BNF, key):
    value_LBNTD = self.values_fn(
      jax.lax.stop_gradient(score),
      jax.lax.stop_gradient(films.clean_BNFYXC),
      x,
      t_BNF,
      films.text_BNWD,
      films.shots_BN,
      key,
    )
    return self.logit_fn(head, value_LBNTD)
