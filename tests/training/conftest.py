"""A toy network with the parameter names of a real one, and its batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cinejax.config import resolve
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.training.optim import make_optimizer
from cinejax.training.state import abstract_state, make_init, shardings
from cinejax.training.steps import make_train_step
from configs import tiny


@dataclasses.dataclass(frozen=True)
class Toy:
  """A step function, a state and batches on one mesh."""

  cfg: object
  mesh: jax.sharding.Mesh
  optimizer: optax.GradientTransformation

  @property
  def settings(self):
    return self.cfg.stage.base

  @property
  def abstract(self):
    return abstract_state(self.init, self.mesh)

  @property
  def batch_sharding(self):
    return batch_sharding(self.mesh)

  @property
  def init(self):
    return make_init(init_fn, self.optimizer, self.cfg.seed)

  def fresh(self):
    return jax.jit(self.init, out_shardings=shardings(self.abstract))()

  @property
  def loss_fn(self):
    return loss_fn

  def step_fn(self, loss=None):
    step_fn = make_train_step(
      loss or loss_fn,
      self.optimizer,
      self.settings,
      self.mesh,
      shardings(self.abstract),
      {},
      self.batch_sharding,
    )
    return lambda state, batch: step_fn(state, {}, batch)

  def batches(self, consumed):
    """Batches, each determined by the number of examples before it."""
    while True:
      rng = np.random.default_rng(consumed)
      yield {'x': rng.normal(size=(self.settings.batch, 16)).astype('float32')}
      consumed += self.settings.batch


def init_fn(key):
  into, back = jax.random.split(key)
  return {
    'mlp_in': {
      'kernel': jax.random.normal(into, (16, 32)) / 4,
      'bias': jnp.zeros(32),
    },
    'mlp_out': {'kernel': jax.random.normal(back, (32, 16)) / 6},
  }


def loss_fn(params, batch, key, given):
  x = batch['x']
  noisy = x + 0.1 * jax.random.normal(key, x.shape)
  h = jnp.tanh(
    noisy @ params['mlp_in']['kernel'] + params['mlp_in']['bias'][None]
  )
  error = h @ params['mlp_out']['kernel'] - x
  return jnp.mean(error**2), {'worst': jnp.max(jnp.abs(error))}


@pytest.fixture
def make_toy():
  def make(optimizer=None, devices=1, **mesh_axes):
    config = tiny.get_config()
    config.stage.base.batch = 8
    config.mesh.update(mesh_axes)
    config.train.log_every_steps = 1
    config.train.save_every_steps = 2
    config.train.sample_every_steps = 3
    cfg = resolve(config)
    mesh = make_mesh(cfg.mesh, jax.devices()[:devices])
    return Toy(cfg, mesh, optimizer or make_optimizer(cfg.stage.base))

  return make
