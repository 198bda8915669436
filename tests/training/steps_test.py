import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cinejax.training import steps
from cinejax.training.state import shardings, start_from
from cinejax.training.steps import make_train_step, place


def run(toy, updates=1):
  state, batches, step_fn = toy.fresh(), toy.batches(0), toy.step_fn()
  with jax.set_mesh(toy.mesh):
    for _ in range(updates):
      batch = place(next(batches), toy.batch_sharding)
      state, metrics = step_fn(state, batch)
  return state, metrics


def test_donated_buffers_are_deleted(make_toy):
  toy = make_toy(devices=8, fsdp=4, tensor=2)
  state = toy.fresh()
  with jax.set_mesh(toy.mesh):
    batch = place(next(toy.batches(0)), toy.batch_sharding)
    toy.step_fn()(state, batch)
  alive = [leaf for leaf in jax.tree.leaves(state) if not leaf.is_deleted()]
  assert not alive


def test_sharded_equals_one_device(make_toy):
  # SGD: the first step of Adam is a sign, which hides or blows up errors.
  one, one_metrics = run(make_toy(optax.sgd(0.1)))
  toy = make_toy(optax.sgd(0.1), devices=8, data=2, fsdp=2, tensor=2)
  many, many_metrics = run(toy)
  np.testing.assert_allclose(
    many_metrics['loss'], one_metrics['loss'], rtol=1e-6
  )
  for a, b in zip(
    jax.tree.leaves(many.params), jax.tree.leaves(one.params), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)
  kernel = many.params['mlp_in']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape) == (8, 16)


def test_an_update_changes_all_parts_of_the_state(make_toy):
  toy = make_toy()
  before = jax.device_get(toy.fresh())
  state, metrics = run(toy)
  assert state.step == 1
  assert state.films_consumed == metrics['films_consumed'] == 8
  assert metrics['grad_norm'] > 0 and 'worst' in metrics
  old, new = before.params['mlp_in'], state.params['mlp_in']
  moved = new['kernel'] - old['kernel']
  assert jnp.all(jnp.abs(moved) > 0)
  # the decay of the first update is 1 / 10
  np.testing.assert_allclose(
    state.ema['mlp_in']['kernel'], old['kernel'] + 0.9 * moved, atol=1e-7
  )


def test_every_update_has_its_own_key(make_toy):
  state = make_toy().fresh()
  later = state.replace(step=state.step + 1)
  other = state.replace(seed=state.seed + 1)
  keys = [jax.random.key_data(s.key).tolist() for s in (state, later, other)]
  assert keys[0] != keys[1] and keys[0] != keys[2]


def test_updates_of_one_batch_have_different_noise(make_toy):
  toy = make_toy(optax.sgd(0.0))
  state, step_fn, losses = toy.fresh(), toy.step_fn(), []
  with jax.set_mesh(toy.mesh):
    batch = place(next(toy.batches(0)), toy.batch_sharding)
    for _ in range(2):
      state, metrics = step_fn(state, batch)
      losses.append(float(metrics['loss']))
  assert losses[0] != losses[1]


def test_parameters_are_float32(make_toy):
  state, _ = run(make_toy())
  for leaf in jax.tree.leaves((state.params, state.ema)):
    assert leaf.dtype == jnp.float32


def test_start_from_weights(make_toy):
  toy = make_toy(devices=8, fsdp=4, tensor=2)
  state = toy.fresh()
  weights = jax.tree.map(lambda x: np.asarray(x) + 1, state.params)
  started = start_from(state, {'': weights})
  for tree in (started.params, started.ema):
    jax.tree.map(np.testing.assert_array_equal, tree, weights)
  # the two are donated together, so neither may be the other
  with jax.set_mesh(toy.mesh):
    batch = place(next(toy.batches(0)), toy.batch_sharding)
    after, _ = toy.step_fn()(started, batch)
  assert after.step == 1


def plain_loss(params, batch, key, given):
  h = jnp.tanh(batch['x'] @ params['mlp_in']['kernel'])
  error = h @ params['mlp_out']['kernel'] - batch['x']
  return jnp.mean(error**2), {'worst': jnp.mean(jnp.abs(error))}


def one_update(toy, **settings):
  """A state after an update of `plain_loss` with changed settings."""
  stage = dataclasses.replace(toy.settings, **settings)
  step_fn = make_train_step(
    plain_loss,
    toy.optimizer,
    stage,
    toy.mesh,
    shardings(toy.abstract),
    {},
    toy.batch_sharding,
  )
  with jax.set_mesh(toy.mesh):
    batch = place(next(toy.batches(0)), toy.batch_sharding)
    return step_fn(toy.fresh(), {}, batch)


def test_accumulated_parts_equal_the_whole_batch(make_toy):
  toy = make_toy(optax.sgd(0.1), devices=4, fsdp=2, tensor=2)
  (whole, metrics), (parts, parts_metrics) = (
    one_update(toy, accumulate=n) for n in (1, 4)
  )
  for name in ('loss', 'worst', 'grad_norm'):
    np.testing.assert_allclose(parts_metrics[name], metrics[name], rtol=1e-5)
  for a, b in zip(
    jax.tree.leaves(parts.params), jax.tree.leaves(whole.params), strict=True
  ):
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_parts_are_weighted_by_their_valid_chunks():
  def loss_fn(x, batch, key, given):
    loss = (x * batch['film'] * batch['mask']).sum() / batch['mask'].sum()
    return loss, {'twice': 2 * loss}

  batch = {
    'film': jnp.arange(12.0).reshape(4, 3),
    'mask': jnp.array([[1, 1, 1], [1, 0, 0], [1, 1, 1], [1, 0, 0]], float),
  }
  for parts in (2, 4):
    for one, other in zip(
      *(
        jax.tree.leaves(
          steps._accumulated(loss_fn, n)(2.0, batch, jax.random.key(0), {})
        )
        for n in (1, parts)
      ),
      strict=True,
    ):
      np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_spike_is_reported_and_changes_nothing_if_skipped(make_toy):
  toy = make_toy()
  before = jax.device_get(toy.fresh())
  _, metrics = one_update(toy)
  assert metrics['bad'] == 0
  norm = float(metrics['grad_norm'])
  state, metrics = one_update(toy, spike_norm=norm / 2, on_spike='skip')
  assert metrics['bad'] == 1 and state.step == 1 and state.films_consumed == 8
  for name in ('params', 'opt_state', 'ema'):
    for a, b in zip(
      jax.tree.leaves(getattr(state, name)),
      jax.tree.leaves(getattr(before, name)),
      strict=True,
    ):
      np.testing.assert_array_equal(a, b)
