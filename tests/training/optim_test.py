import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import configs
from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.training import optim
from configs import base


@pytest.fixture
def settings():
  return resolve(base.get_config()).stage.base


def test_warmup_reaches_the_peak_and_cosine_ends_at_a_tenth(settings):
  rate = optim.make_schedule(settings)
  peak, warmup = settings.learning_rate, settings.warmup_steps
  np.testing.assert_allclose(rate(0), peak / (warmup + 1), rtol=1e-5)
  np.testing.assert_allclose(rate(warmup), peak, rtol=1e-5)
  np.testing.assert_allclose(rate(settings.steps), peak / 10, rtol=1e-5)


def test_constant_stays_at_the_peak(settings):
  constant = dataclasses.replace(settings, schedule='constant')
  rate = optim.make_schedule(constant)
  np.testing.assert_allclose(rate(settings.steps), settings.learning_rate)


@pytest.mark.parametrize('schedule', ['constant', 'cosine'])
@pytest.mark.parametrize('steps', [1, 2, 4])
def test_a_short_trial_trains_from_its_first_step(settings, schedule, steps):
  short = dataclasses.replace(settings, schedule=schedule, steps=steps)
  rate = optim.make_schedule(short)
  assert rate(0) > 0
  np.testing.assert_allclose(rate(steps // 2), settings.learning_rate, 1e-5)


def test_ema_decay_warms_up(settings):
  np.testing.assert_allclose(optim.ema_decay(settings, 0), 0.1)
  np.testing.assert_allclose(optim.ema_decay(settings, 10**6), settings.ema)


def test_without_momentum_adamw_keeps_one_moment(settings):
  settings = dataclasses.replace(settings, beta1=0.0, optimizer='adamw')
  ours = optim.make_optimizer(settings)
  plain = optax.chain(
    optax.clip_by_global_norm(settings.clip_norm),
    optax.adamw(
      optim.make_schedule(settings),
      b1=0.0,
      b2=settings.beta2,
      weight_decay=settings.weight_decay,
      mask=optim.matrices,
    ),
  )
  params = {'query': {'kernel': jnp.linspace(-1, 1, 16).reshape(4, 4)}}

  def trained(optimizer):
    state, updated = optimizer.init(params), params
    for step in range(3):
      grads = jax.tree.map(lambda x, step=step: jnp.sin(9 * x + step), updated)
      updates, state = optimizer.update(grads, state, updated)
      updated = optax.apply_updates(updated, updates)
    return state, updated

  (state, updated), (plain_state, plain_params) = trained(ours), trained(plain)
  np.testing.assert_allclose(
    updated['query']['kernel'], plain_params['query']['kernel'], rtol=1e-6
  )
  held, plain_held = (
    sum(x.size for x in jax.tree.leaves(s)) for s in (state, plain_state)
  )
  assert plain_held - held >= 16


def test_only_kernels_decay(settings):
  params = {
    'blocks': {
      'query': {'kernel': jnp.ones((2, 4, 4)), 'bias': jnp.ones((2, 4))},
      'modulation': jnp.ones((2, 6, 4)),
    },
  }
  optimizer = optim.make_optimizer(settings)
  nothing = optax.tree.zeros_like(params)

  @jax.jit
  def update(params):
    return optimizer.update(nothing, optimizer.init(params), params)[0]

  updates = update(params)
  assert jnp.all(updates['blocks']['query']['kernel'] < 0)
  assert jnp.all(updates['blocks']['query']['bias'] == 0)
  assert jnp.all(updates['blocks']['modulation'] == 0)


def _gradients():
  keys = jax.random.split(jax.random.key(0), 2)
  return {
    'blocks': {'mlp_in': {'kernel': jax.random.normal(keys[0], (2, 8, 16))}},
    'block_0': {'conv': {'kernel': jax.random.normal(keys[1], (3, 3, 2, 8))}},
    'head': {'kernel': jax.random.normal(keys[1], (8, 16))},
    'correction': {'in': {'kernel': jax.random.normal(keys[1], (16, 8))}},
  }


def _first_update(settings):
  grads = _gradients()
  optimizer = optim.make_optimizer(
    dataclasses.replace(
      settings, optimizer='muon', schedule='constant', warmup_steps=0
    )
  )
  params = jax.tree.map(jnp.zeros_like, grads)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  return updates, settings.learning_rate


def test_muon_orthogonalises_each_matrix_of_the_blocks(settings):
  updates, rate = _first_update(settings)
  for layer in updates['blocks']['mlp_in']['kernel']:
    lengths = np.linalg.svd(layer, compute_uv=False) / rate
    # five Newton-Schulz steps leave singular values between .7 and 1.2, times
    # the square root of how much wider than tall a matrix is
    assert (lengths > 0.65 * 2**0.5).all() and (lengths < 1.25 * 2**0.5).all()


def test_muon_reads_a_convolution_as_one_matrix(settings):
  updates, rate = _first_update(settings)
  matrix = updates['block_0']['conv']['kernel'].reshape(18, 8)
  lengths = np.linalg.svd(matrix, compute_uv=False) / rate
  assert (lengths > 0.65).all() and (lengths < 1.25).all()


def test_muon_updates_every_trained_layer_of_a_codec(settings):
  updates, rate = _first_update(settings)
  matrix = updates['correction']['in']['kernel']
  lengths = np.linalg.svd(matrix, compute_uv=False) / rate
  assert (lengths > 0.65).all() and (lengths < 1.25).all()


@pytest.mark.parametrize('share', [1.0, 0.1])
def test_muon_leaves_the_rest_to_adamw(share):
  settings = resolve(base.get_config()).stage.codec
  own = 0.0 if share == 1.0 else share * settings.learning_rate
  updates, rate = _first_update(
    dataclasses.replace(settings, adam_learning_rate=own)
  )
  rate *= share
  # Adam's first update is the gradient's sign, and Nesterov's a little more
  step = updates['head']['kernel'] / rate
  sign = -np.sign(_gradients()['head']['kernel'])
  np.testing.assert_allclose(step, sign * np.abs(step).mean(), rtol=1e-3)
  assert 1.0 < np.abs(step).mean() < 1.5


def test_each_phase_has_its_own_rate_beside_muon():
  config = base.get_config()
  config.stage.codec.update(
    {'schedule': 'constant', 'warmup_steps': 0, 'adam_learning_rate': 1e-3}
  )
  config.stage.codec.phases = (
    configs.phase('a', 2, {'stage.learning_rate': 1e-1}),
    configs.phase('b', 2, {'stage.adam_learning_rate': 2e-3}),
    configs.phase('c', 2, {'stage.adam_learning_rate': 0.0}),
  )
  settings = resolve(config).stage.codec
  muon, adam = (
    [optim.make_schedule(settings, beside_muon=beside)(n) for n in (0, 2, 4)]
    for beside in (False, True)
  )
  np.testing.assert_allclose(muon, [1e-1, 1e-2, 1e-2], rtol=1e-6)
  np.testing.assert_allclose(adam, [1e-3, 2e-3, 1e-2], rtol=1e-6)


@pytest.mark.parametrize('name', ['adamw', 'muon'])
def test_vectors_without_a_gradient_stay(settings, name):
  optimizer = optim.make_optimizer(
    dataclasses.replace(settings, optimizer=name, weight_decay=0.5)
  )
  params = {
    'std_C': jnp.ones(3),
    'encoder': {'components_GC': jnp.ones((4, 3))},
  }
  params |= {'blocks': {'mlp_in': {'kernel': jnp.ones((2, 4, 3))}}}
  grads = jax.tree.map(jnp.zeros_like, params)
  updates, _ = jax.jit(optimizer.update)(grads, optimizer.init(params), params)
  assert not updates['std_C'].any()
  assert not updates['encoder']['components_GC'].any()
  assert (updates['blocks']['mlp_in']['kernel'] < 0).all()


def test_an_unknown_optimizer_is_refused(settings):
  with pytest.raises(UserError, match='optimizer is sgd; it must be one of'):
    optim.make_optimizer(dataclasses.replace(settings, optimizer='sgd'))


@pytest.mark.parametrize('optimizer', ['adamw', 'muon'])
def test_moments_stored_in_bfloat16_step_nearly_as_in_float32(
  settings, optimizer
):
  key = jax.random.key(0)
  params = {'blocks': {'query': {'kernel': jax.random.normal(key, (2, 8, 8))}}}
  updates = []
  for dtype in ('float32', 'bfloat16'):
    stage = dataclasses.replace(
      settings, optimizer=optimizer, moments_dtype=dtype
    )
    transformation = optim.make_optimizer(stage)
    state = transformation.init(params)
    for i in range(3):
      grads = jax.tree.map(lambda x, i=i: jnp.sin(x * (i + 1)), params)
      update, state = jax.jit(transformation.update)(grads, state, params)
    updates.append(update['blocks']['query']['kernel'])
    moments = [x.dtype for x in jax.tree.leaves(state) if x.shape == (2, 8, 8)]
    assert moments and set(moments) == {jnp.dtype(dtype)}
  apart = jnp.linalg.norm(updates[1] - updates[0])
  assert 0 < apart < 0.03 * jnp.linalg.norm(updates[0])
