import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cinejax.config import resolve
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
