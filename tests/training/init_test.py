"""The stage `init`: from base weights to a student, stopped and resumed."""

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.sharding import make_mesh
from cinejax.data.sources import LatentFilm
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.models import denoiser
from cinejax.training import films as film_data
from cinejax.training import stages, trainer
from configs import tiny
from tests.networks import with_random_head


def _films(channels, count=8, chunks=3):
  rng = np.random.default_rng(0)
  return [
    LatentFilm(
      latents=rng.normal(size=(3 * chunks, 2, 2, channels)).astype('float16'),
      prompts=('Ada runs', 'Cut to: Ben runs', 'Ben runs'),
      cuts=np.array([False, True, False]),
      shots=np.array([0, 1, 1], np.int32),
      film=number,
    )
    for number in range(count)
  ]


@pytest.mark.slow
@pytest.mark.parametrize('method', ['cd', 'ode'])
def test_it_starts_from_the_base_and_resumes_bit_for_bit(
  method, tmp_path, monkeypatch
):
  config = tiny.get_config()
  config.data.films = 'made up'
  config.film.height = config.film.width = 16
  config.init.update({'method': method, 'grid': 4})
  config.stage.init.update({'steps': 4, 'batch': 2})
  config.train.update({'save_every_steps': 2, 'weights_dtype': 'float32'})
  cfg = resolve(config)
  films = _films(cfg.codec.channels)
  monkeypatch.setattr(film_data, 'LatentFilms', lambda path: films)
  base = denoiser.init_params(cfg.dit, jax.random.key(0))
  base = with_random_head(base, 1.0)
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  whole, part = tmp_path / 'whole', tmp_path / 'part'
  for folder in (whole, part):
    save_tree(folder / 'base.safetensors', base, {})
    trainer.run_stage(stages.find('init'), cfg, folder, mesh)
  (part / 'init.safetensors').unlink()
  for step in (part / 'checkpoints' / 'init').iterdir():
    if step.name != '2':
      step.rename(tmp_path / step.name)
  trainer.run_stage(stages.find('init'), cfg, part, mesh)
  (uncut, _), (resumed, _) = (
    load_tree(folder / 'init.safetensors') for folder in (whole, part)
  )
  jax.tree.map(np.testing.assert_array_equal, uncut, resumed)
  moved = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), uncut, base)
  assert 0 < max(jax.tree.leaves(moved)) < 0.01
