"""Mean values of frames: what they are, and which layers they depend on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.models import denoiser
from cinejax.models.frame_values import make_frame_values_film_fn
from configs import tiny
from tests.networks import random_dit

CHUNKS, FRAMES, LAYER = 2, 3, 1


@pytest.fixture(scope='module')
def cfg():
  cfg = resolve(tiny.get_config())
  memory = dataclasses.replace(cfg.memory, training='full')
  dit = dataclasses.replace(cfg.dit, layers=3)
  return dataclasses.replace(cfg, dit=dit, memory=memory)


@pytest.fixture(scope='module')
def arguments(cfg):
  clean, noisy = jax.random.normal(
    jax.random.key(0), (2, 1, CHUNKS, FRAMES, 4, 4, 16)
  )
  text = jnp.ones((1, CHUNKS, 8, 16))
  shots = jnp.zeros((1, CHUNKS), jnp.int32)
  t = jnp.full((1, CHUNKS, FRAMES), 0.5)
  return clean, noisy, t, text, shots, jax.random.key(1)


@pytest.mark.slow
def test_values_stand_beside_the_same_velocity(cfg, arguments):
  params = random_dit(cfg.dit)
  film_fn = make_frame_values_film_fn(cfg.dit, cfg.memory, (0, LAYER))
  velocity, value_LBSFD = jax.jit(film_fn)(params, *arguments)
  expected, _ = jax.jit(denoiser.make_film_fn(cfg.dit, cfg.memory))(
    params, *arguments
  )
  np.testing.assert_allclose(velocity, expected, rtol=1e-5, atol=1e-6)
  values_fn = denoiser.make_values_fn(cfg.dit, cfg.memory, (0, LAYER))
  value_LBNTD = jax.jit(values_fn)(params, *arguments)
  tokens = value_LBNTD.reshape(*value_LBSFD.shape[:4], -1, cfg.dit.features)
  np.testing.assert_allclose(
    value_LBSFD, tokens.mean(4, dtype=jnp.float32), rtol=1e-3, atol=1e-5
  )


@pytest.mark.slow
def test_a_gradient_reaches_the_layer_and_none_above(cfg, arguments):
  params = random_dit(cfg.dit)
  film_fn = make_frame_values_film_fn(cfg.dit, cfg.memory, (LAYER,))

  def total(params):
    return jnp.square(film_fn(params, *arguments)[1]).sum()

  blocks = jax.jit(jax.grad(total))(params)['blocks']
  by_layer = sum(
    np.abs(x).reshape(len(x), -1).sum(1) for x in jax.tree.leaves(blocks)
  )
  assert (by_layer > 0).tolist() == [True, True, False]
  value = np.abs(blocks['self_attention']['value']['kernel'])
  assert (value.sum((1, 2)) > 0).tolist() == [True, True, False]
  # of its own layer, only what leads to the values
  out = np.abs(blocks['mlp_out']['kernel'])
  assert (out.sum((1, 2)) > 0).tolist() == [True, False, False]
