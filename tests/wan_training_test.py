"""An update of every stage of Wan, traced at full size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core import tree as tree_lib
from cinejax.core.sharding import make_mesh
from cinejax.training import (
  base_stage,
  distillation,
  films,
  initialisation,
  stages,
)
from cinejax.training.adaptation import adapted
from cinejax.training.state import abstract_state, make_init
from configs import tiny
from tests.wan import NAMES, Text, load, params_of


def _shapes_of_batch(cfg):
  chunks, frames = cfg.data.chunks, cfg.film.frames_per_chunk
  shapes = {
    'latents': (1, chunks * frames, *cfg.frame_shape),
    'text': (1, chunks, 512, 4096),
    'mask': (1, chunks),
  }
  batch = {k: jax.ShapeDtypeStruct(s, jnp.float32) for k, s in shapes.items()}
  return batch | {'shots': jax.ShapeDtypeStruct((1, chunks), jnp.int32)}


STAGES = {
  'base': {},
  'base_bidirectional': {},
  'cd': {},
  'ode': {'init.method': 'ode', 'init.guidance': 6.0},
  'dmd': {},
  'gan': {'dmd.gan_weight': 0.01},
  'tune': {'data.chunks': 80},
}


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('what', STAGES)
def test_an_update_of_every_stage_traces_at_full_size(
  name, what, monkeypatch, tmp_path
):
  stage = {'cd': 'init', 'ode': 'init', 'gan': 'dmd'}.get(what, what)
  cfg = load(name, '' if 'base' in what else 'four', **STAGES[what])
  words = np.zeros((1, cfg.text.words, cfg.text.features), np.float32)
  stand_ins = {
    'weights_path': lambda *args: tmp_path,
    'latent_films': lambda cfg: [None],
    'captions': lambda cfg: Text(words),
    'load_codec': lambda *args: (None, None),
    'make_film_sampler': lambda *args: None,
    'make_whole_film_sampler': lambda *args: None,
  }
  for module in (base_stage, initialisation, distillation, films):
    for imported in stand_ins.keys() & vars(module).keys():
      monkeypatch.setattr(module, imported, stand_ins[imported])
  settings = getattr(cfg.stage, stage)
  program = stages.find(stage).build(cfg, tmp_path)
  if settings.lora.rank:
    program = adapted(program, settings.lora)
  mesh = make_mesh(resolve(tiny.get_config()).mesh, jax.devices()[:1])
  init = make_init(
    program.init_fn, program.optimizer_fn(settings), 0, program.ships
  )
  state = abstract_state(init, mesh)
  frozen = {
    key: jax.eval_shape(network.init_fn, jax.random.key(0))
    for key, network in program.frozen.items()
  }
  given = {**frozen, 'ema': state.ema, 'step': state.step}
  grads, _ = jax.eval_shape(
    jax.grad(program.loss_fn, has_aux=True),
    state.params,
    _shapes_of_batch(cfg),
    jax.random.key(0),
    given,
  )
  assert jax.tree.structure(grads) == jax.tree.structure(state.params)
  if stage == 'dmd' and name == 'wan_1_3b':
    assert tree_lib.count(frozen['real']) == 14_288_491_584
  if stage == 'tune':  # adapters of student and fake score
    assert tree_lib.count(state.params) < tree_lib.count(params_of(cfg.dit)) / 2
