"""Adapters: no change at first, merged as beside, trained alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh, param_shardings
from cinejax.models import denoiser, lora
from configs import tiny

TARGETS = 'blocks/(self_attention/(query|out)|mlp_in)|head|time_projection'


def _drawn(like, deviation):
  rng = np.random.default_rng(0)
  return jax.tree.map(
    lambda x: rng.normal(0, deviation, x.shape).astype(np.float32), like
  )


@pytest.fixture(scope='module')
def cfg():
  return resolve(tiny.get_config())


@pytest.fixture(scope='module')
def params(cfg):
  """Random parameters; the new head is zero and would hide all before it."""
  like = jax.eval_shape(
    lambda key: denoiser.init_params(cfg.dit, key), jax.random.key(0)
  )
  return _drawn(like, 0.2)


@pytest.fixture(scope='module')
def adapter(params):
  """A new adapter: B = 0."""
  return lora.init_lora(params, jax.random.key(2), rank=3, targets=TARGETS)


@pytest.fixture(scope='module')
def trained(adapter):
  """An adapter with random B, as if trained."""
  return _drawn(adapter, 0.3)


@pytest.fixture(scope='module')
def forward(cfg):
  fn = jax.jit(denoiser.make_bidirectional_fn(cfg.dit))
  x = jax.random.normal(jax.random.key(4), (1, 1, 3, 4, 4, cfg.dit.channels))
  text = jax.random.normal(jax.random.key(5), (1, 1, 8, cfg.dit.text_features))
  return lambda params: fn(params, x, jnp.full((1, 1, 3), 0.5), text)


def test_it_is_of_the_layers_that_are_named(adapter, cfg):
  found = {name.rpartition('/')[0] for name in tree_lib.paths(adapter)}
  assert found == {
    'blocks/self_attention/query',
    'blocks/self_attention/out',
    'blocks/mlp_in',
    'head',
    'time_projection',
  }
  down = adapter['blocks']['mlp_in'][lora.DOWN]
  assert down.shape == (cfg.dit.layers, cfg.dit.features, 3)
  bound = cfg.dit.features**-0.5
  assert 0.9 * bound < np.abs(down).max() <= bound


def test_a_fresh_one_changes_nothing(params, adapter, forward):
  plain = forward(params)
  beside = forward(lora.attach(params, adapter, 2.0))
  np.testing.assert_array_equal(beside, plain)


def test_merged_and_beside_are_the_same(params, trained, forward):
  beside = forward(lora.attach(params, trained, 2.0))
  merged = forward(lora.merge(params, trained, 2.0))
  np.testing.assert_allclose(beside, merged, rtol=1e-4, atol=1e-4)
  assert np.abs(merged - forward(params)).max() > 0.1


def test_merging_keeps_types_and_all_else(params, trained):
  half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  merged = tree_lib.paths(lora.merge(half, trained, 1.0))
  touched = {name.rpartition('/')[0] for name in tree_lib.paths(trained)}
  for name, x in tree_lib.paths(half).items():
    layer, _, kind = name.rpartition('/')
    assert merged[name].dtype == x.dtype
    same = bool((merged[name] == x).all())
    assert same != (layer in touched and kind == 'kernel')


@pytest.mark.slow  # tests/training/adaptation_test.py sees it train
def test_the_gradient_reaches_the_adapter(params, adapter, forward):
  def loss(adapter):
    return jnp.mean(forward(lora.attach(params, adapter, 2.0)) ** 2)

  grads = tree_lib.paths(jax.jit(jax.grad(loss))(adapter))
  for name, x in grads.items():  # B = 0 hides A
    assert bool(np.any(x)) == name.endswith(lora.UP)


def test_every_leaf_has_a_place_on_a_mesh(adapter, cfg):
  shardings = param_shardings(adapter, make_mesh(cfg.mesh))
  spec = shardings['blocks']['mlp_in'][lora.DOWN].spec
  assert spec == jax.sharding.PartitionSpec(None, 'fsdp', None)


def test_an_error_of_a_missing_target_names_what_is_there(params):
  with pytest.raises(UserError, match=r'no layer matches queries; .*mlp_in'):
    lora.init_lora(params, jax.random.key(0), rank=1, targets='queries')
