"""The light head that tells real films from a student's.

It reads what a score network computes of a noised chunk, the values [T, D] of
some of its layers:

  d = w . norm(concat_l mean_T silu(W_l norm(value_l)))                     (1)

one logit a chunk. Nothing is pooled before the first nonlinearity, so that it
sees what a few tokens show. (CausalCine's logistic head on features of the
fake score; APT, section 3.2.)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Discriminator(nn.Module):
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
  """-> (init(key) -> params, logit_fn(params, value_LBNTD) -> logit_BN).

  `layers` = L and `width` = D of the values it reads.
  """
  model = Discriminator(features)

  def init(key):
    return model.init(key, jnp.zeros((layers, 1, 1, 1, width)))['params']

  def logit_fn(params, value_LBNTD):
    return model.apply({'params': params}, value_LBNTD)

  return init, logit_fn
