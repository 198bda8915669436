"""An update of the base on eight devices of the CPU."""

import jax
import numpy as np
import optax
import pytest

from cinejax.config import resolve
from cinejax.core.sharding import batch_sharding, make_mesh
from cinejax.models import denoiser
from cinejax.objectives.teacher_forcing import make_teacher_forcing_loss
from cinejax.training.state import abstract_state, make_init, shardings
from cinejax.training.steps import make_train_step, place, without_networks
from configs import tiny


def first_update(devices, **mesh_axes):
  config = tiny.get_config()
  config.stage.base.batch = 4
  config.mesh.update(mesh_axes)
  cfg = resolve(config)
  mesh = make_mesh(cfg.mesh, jax.devices()[:devices])
  optimizer = optax.sgd(0.1)
  init = make_init(
    lambda key: denoiser.init_params(cfg.dit, key), optimizer, cfg.seed
  )
  abstract = abstract_state(init, mesh)
  state = jax.jit(init, out_shardings=shardings(abstract))()
  loss_fn = make_teacher_forcing_loss(
    denoiser.make_film_fn(cfg.dit, cfg.memory),
    cfg.diffusion,
    frames=3,
    negative_text_WD=np.zeros((cfg.text.words, cfg.text.features), 'float32'),
    drop_text=0.5,
  )
  step_fn = make_train_step(
    without_networks(loss_fn),
    optimizer,
    cfg.stage.base,
    mesh,
    shardings(abstract),
    {},
    batch_sharding(mesh),
  )
  with jax.set_mesh(mesh):
    return step_fn(state, {}, place(random_batch(cfg), batch_sharding(mesh)))


def random_batch(cfg):
  rng = np.random.default_rng(0)
  films, chunks = cfg.stage.base.batch, cfg.data.chunks
  text = (films, chunks, cfg.text.words, cfg.text.features)
  latents = (films, 3 * chunks, 4, 4, cfg.codec.channels)
  return {
    'latents': rng.normal(size=latents).astype(np.float32),
    'text': rng.normal(size=text).astype(np.float32),
    'mask': np.ones((films, chunks), np.float32),
    'shots': np.tile(np.arange(chunks, dtype=np.int32), (films, 1)),
  }


@pytest.mark.slow
@pytest.mark.parametrize(
  'axes', [{'data': 2, 'fsdp': 2, 'tensor': 2}, {'fsdp': 4, 'tensor': 2}]
)
def test_sharded_equals_one_device(axes):
  one, one_metrics = first_update(1)
  many, many_metrics = first_update(8, **axes)
  for name in ('loss', 'grad_norm'):
    np.testing.assert_allclose(many_metrics[name], one_metrics[name], rtol=1e-5)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5),
    many.params,
    one.params,
  )
  kernel = many.params['blocks']['mlp_in']['kernel']
  assert kernel.sharding.shard_shape(kernel.shape)[2] == kernel.shape[2] // 2
