"""Positions, actions and gates: what a network may have besides."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models import denoiser

FRAMES = 3


def test_a_table_of_positions_tells_places_apart(cfg):
  dit = dataclasses.replace(cfg.dit, positions=(2, 3), layers=1)
  params = denoiser.init_params(dit, jax.random.key(0))
  assert params['positions'].shape == (1, 1, 1, 6, dit.features)
  params['head']['kernel'] = jnp.ones_like(params['head']['kernel'])
  # one value everywhere: rotary positions alone see no difference between
  # tokens, since what a query reads is an average of equal values
  x = jnp.ones((1, 1, 1, 4, 6, dit.channels))
  text = jnp.zeros((1, 1, cfg.text.words, cfg.text.features))

  def spread(params):
    fn = jax.jit(denoiser.make_bidirectional_fn(dit))
    velocity = fn(params, x, jnp.zeros((1, 1, 1)), text)
    return float(jnp.std(velocity[..., ::2, ::2, 0]))

  without = {**params, 'positions': jnp.zeros_like(params['positions'])}
  assert spread(params) > 1e-3 and spread(without) < 1e-6


def test_a_frame_that_is_not_of_the_table_is_refused(cfg):
  dit = dataclasses.replace(cfg.dit, positions=(2, 3))
  params = jax.eval_shape(
    lambda key: denoiser.init_params(dit, key), jax.random.key(0)
  )
  x = jnp.ones((1, 1, 1, 4, 4, dit.channels))
  text = jnp.zeros((1, 1, cfg.text.words, cfg.text.features))
  fn = denoiser.make_bidirectional_fn(dit)
  with pytest.raises(UserError, match='2 rows and 2 columns'):
    jax.eval_shape(fn, params, x, jnp.zeros((1, 1, 1)), text)


def test_actions_steer_their_own_frames(cfg, params):
  steered = dataclasses.replace(cfg.dit, actions=4)
  fresh = jax.jit(  # of which only the embedding is computed
    lambda key: denoiser.init_params(steered, key)['action_embedding']
  )(jax.random.key(0))
  x = jax.random.normal(jax.random.key(2), (1, 2, FRAMES, 4, 4, 16))
  t = jnp.full((1, 2, FRAMES), 0.5)
  words = jax.random.normal(
    jax.random.key(3), (1, 2, cfg.text.words, cfg.text.features)
  )
  rows = jnp.zeros((1, 2, FRAMES, cfg.text.features))
  jump = rows.at[0, 1, 2, 1].set(1.0)

  def velocity(params, rows):
    fn = denoiser.make_bidirectional_fn(steered)
    return fn(params, x, t, jnp.concatenate([words, rows], 2))

  learnt = params | {'action_embedding': fresh}
  plain_fn = jax.jit(denoiser.make_bidirectional_fn(cfg.dit))
  plain = plain_fn(params, x, t, words)
  run = jax.jit(velocity)
  np.testing.assert_allclose(run(learnt, jump), plain, atol=1e-5)
  kernel = jax.random.normal(jax.random.key(4), (4, cfg.dit.features))
  learnt['action_embedding'] = {'kernel': kernel}
  np.testing.assert_allclose(run(learnt, rows), plain, atol=1e-5)
  moved = np.abs(run(learnt, jump) - plain).mean((0, 3, 4, 5))
  assert moved.argmax() == FRAMES + 2 and moved.max() > 1e-2


@pytest.mark.slow
def test_a_new_gate_changes_nothing_and_learns(cfg, params):
  dit = dataclasses.replace(cfg.dit, gate=True)
  memory = dataclasses.replace(cfg.memory, training='routed', window_frames=3)
  fresh = jax.jit(denoiser.init_params, static_argnums=0)(
    dit, jax.random.key(0)
  )
  gates = {
    name: fresh['blocks'][name] for name in fresh['blocks'] if 'gate' in name
  }
  assert len(gates) == 2 and not any(x.any() for x in gates.values())
  shape = (1, 3, FRAMES, 4, 4, 16)
  films = jax.random.normal(jax.random.key(3), (2, *shape))
  text = jax.random.normal(jax.random.key(4), (1, 3, 8, 16))
  rest = jnp.full(shape[:3], 0.5), text, jnp.zeros((1, 3), jnp.int32)

  def loss(gates, dit):
    tree = params | {'blocks': params['blocks'] | gates}
    film_fn = denoiser.make_film_fn(dit, memory)
    velocity, _ = film_fn(tree, *films, *rest, jax.random.key(0))
    return jnp.square(velocity).mean(), velocity

  grads, velocity = jax.jit(jax.grad(loss, has_aux=True), static_argnums=1)(
    gates, dit
  )
  _, without = jax.jit(loss, static_argnums=1)({}, cfg.dit)
  np.testing.assert_allclose(velocity, without, atol=1e-6)
  assert all((jnp.abs(x).max(-1) > 0).all() for x in grads.values())
