"""The discriminator head, which tells real films from a student's.

It reads the attention values [T, D] that some layers of a score network compute
for a noised chunk:

  d = w . norm(concat_l mean_T silu(W_l norm(value_l)))                     (1)

It gives one logit for each chunk. Nothing is pooled before the first
nonlinearity, so that the head can react to a few tokens. (CausalCine's logistic
head on features of the fake score; APT, section 3.2.)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Discriminator(nn.Module):
  """Eq. (1): value_LBNTD -> logit_BN."""

  features: int  # of W_l

  @nn.compact
  def __call__(self, value_LBNTD: jax.Array) -> jax.Array:
    read = []
    for layer, x_BNTD in enumerate(value_LBNTD.astype(jnp.float32)):
      y = nn.LayerNorm(use_bias=False, use_scale=False)(x_BNTD)
      y = nn.silu(nn.Dense(self.features, name=f'read_{layer}')(y))
      read.append(y.mean(-2))
    y = nn.LayerNorm(use_bias=False, use_scale=False)(jnp.concatenate(read, -1))
    return nn.Dense(1, name='logit')(y)[..., 0]


def make_discriminator(
  layers: int, width: int, features: int
) -> tuple[Callable[[jax.Array], Any], Callable[..., jax.Array]]:
  """Makes (init, logit_fn): init(key) -> params, and
  logit_fn(params, value_LBNTD) -> logit_BN.

  Args:
    layers: L of the values.
    width: D of the values.
    features: those of W_l.
  """
  model = Discriminator(features)

  def init(key):
    return model.init(key, jnp.zeros((layers, 1, 1, 1, width)))['params']

  def logit_fn(params, value_LBNTD):
    return model.apply({'params': params}, value_LBNTD)

  return init, logit_fn
