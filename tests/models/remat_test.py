"""Policies of rematerialisation: what the gradient computes a second time."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from jax._src.cudnn import fused_attention_stablehlo as cudnn

from cinejax.config import resolve
from cinejax.models import denoiser, film_attention, remat
from configs import tiny

CFG = resolve(tiny.get_config())
FORWARD = ('dot_product_attention_fwd_wrapper', 'splash_mha_fwd')


def _equations(jaxpr):
  """Every equation of a jaxpr and of the jaxprs inside it."""
  for equation in jaxpr.eqns:
    if not equation.outvars:  # XLA removes what gives nothing
      continue
    yield equation
    if equation.primitive.name == 'pallas_call':
      continue
    for value in jax.tree.leaves(
      equation.params, is_leaf=lambda x: hasattr(x, 'eqns')
    ):
      inner = getattr(value, 'jaxpr', value)
      if hasattr(inner, 'eqns'):
        yield from _equations(inner)


def _forward_passes(fn, *args):
  """How often a kernel of attention runs forward in the traced fn(*args)."""
  names = (
    f'{equation.primitive.name} {equation.params.get("name", "")}'
    for equation in _equations(jax.make_jaxpr(fn)(*args).jaxpr)
  )
  return sum(any(forward in name for forward in FORWARD) for name in names)


def _gradient(policy, form, implementation, dtype):
  dit = dataclasses.replace(
    CFG.dit, remat=policy, attention=implementation, compute_dtype=dtype
  )
  film_fn = denoiser.make_film_fn(
    dit, dataclasses.replace(CFG.memory, training=form)
  )
  x = jnp.zeros((1, 2, 3, 4, 4, 16))
  others = jnp.zeros((1, 2, 8, 16)), jnp.zeros((1, 2), jnp.int32)

  def loss(params):
    key = jax.random.key(0)
    return film_fn(params, x, x, jnp.zeros((1, 2, 3)), *others, key)[0].sum()

  params = jax.eval_shape(lambda: denoiser.init_params(dit, jax.random.key(0)))
  return jax.grad(loss), params


@pytest.mark.parametrize(
  ('form', 'implementation', 'dtype'),
  [
    ('full', 'cudnn', 'bfloat16'),
    ('routed', 'cudnn', 'bfloat16'),
    ('full', 'splash', 'float32'),
  ],
)
def test_only_full_runs_attention_again(
  monkeypatch, form, implementation, dtype
):
  monkeypatch.setattr(cudnn, 'check_cudnn_version', lambda: 91_000)
  counts = {
    policy: _forward_passes(*_gradient(policy, form, implementation, dtype))
    for policy in ('none', 'dots', 'attention', 'full')
  }
  once = counts['none']
  assert once > 1  # of the film and of its captions
  assert counts == {
    'none': once,
    'dots': once,
    'attention': once,
    'full': 2 * once,
  }


def test_our_own_attention_keeps_its_log_sum_exp():
  q = k = v = jnp.zeros((1, 4, 6, 2, 8))  # N = 2

  def maxima(policy):  # only the forward pass looks for the largest score
    attend = jax.checkpoint(
      lambda *args: film_attention.attend(*args, 2).sum(),
      policy=remat.POLICIES[policy],
    )
    jaxpr = jax.make_jaxpr(jax.grad(attend, (0, 1, 2)))(q, k, v).jaxpr
    return sum(x.primitive.name == 'reduce_max' for x in _equations(jaxpr))

  assert maxima('full') == 2 * maxima('attention') > 0
  assert maxima('dots') == maxima('attention')
