"""An adversarial loss beside distribution matching.

A discriminator head tells real films from a student's. It reads features of the
fake score, of films noised at the same t:

  L_D = sp(-d(real_t)) + sp(d(fake_t)) + r1 |d'(real_t)|^2 + r2 |d'(fake_t)|^2
  L_G = sp(-d(fake_t)),   sp = softplus                                    (13)

where |d'|^2 is the finite difference ((d(x + s n) - d(x)) / s)^2 with s = 0.01.
L_D trains the head alone: the score must remain that of the student's films,
as eq. (12) needs it. The real films are those of the batch, of data or of a
teacher. (CausalCine, section 4; APT; R1 and R2 are those of Self Forcing.)
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
  """The losses of eq. (13)."""

  # of the score: (params, clean, noisy, t_BNF, text, shots, key) -> value_LBNTD
  values_fn: Callable[..., jax.Array]
  logit_fn: Callable[..., jax.Array]  # (head, value_LBNTD) -> logit_BN
  weight: float  # lambda, of L_G
  r1: float  # penalty on the slope at real films
  r2: float  # penalty on the slope at the student's films

  def student_loss(
    self, score: Any, head: Any, film: Films, t_BNF, noise, key
  ) -> jax.Array:
    """lambda L_G, differentiable in `film.clean_BNFYXC`.

    The gradient goes through the noised film, not through the clean half that
    causal scores read.
    """
    x = flow.noised(film.clean_BNFYXC, noise, t_BNF)
    logit_BN = self._logit(score, head, film, x, t_BNF, key)
    return self.weight * film.mean(jax.nn.softplus(-logit_BN))

  def head_loss(
    self, score: Any, head: Any, pair: tuple[Films, Films], t_BNF, noise, key
  ) -> jax.Array:
    """L_D of `pair`, real and generated films; differentiable in `head`."""
    real, generated = pair
    loss = jnp.float32(0)
    for films, sign, penalty in ((real, -1, self.r1), (generated, 1, self.r2)):
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
