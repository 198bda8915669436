"""Trajectories in a data set do not depend on batches."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.core.sharding import make_mesh
from cinejax.data.pipeline import fit_film, make_batches
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.diffusion import solver, timesteps
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.models import denoiser
from cinejax.models.text.select import make_text
from cinejax.objectives import guidance
from cinejax.training import (
  base_stage,
  initialisation,
  stages,
  trainer,
)
from configs import tiny
from data_prep import films as films_lib
from data_prep import trajectories
from tests.networks import with_random_head


def settings(changes=(), **init):
  config = tiny.get_config()
  config.film.height = config.film.width = 32
  config.data.films = 'made up'
  config.train.weights_dtype = 'float32'
  config.init.update({'method': 'ode', 'grid': 4, 'guidance': 2.0, **init})
  config.stage.init.update({'steps': 2, 'batch': 2})
  config.update_from_flattened_dict(dict(changes))
  return resolve(config)


@pytest.fixture(scope='module')
def cfg():
  return settings()


@pytest.fixture(scope='module')
def films(cfg):
  """Five films of 2 to 4 chunks, of which training reads 3."""
  rng = np.random.default_rng(0)
  shape = cfg.frame_shape
  return [
    LatentFilm(
      latents=rng.normal(size=(3 * chunks, *shape)).astype(np.float16),
      prompts=tuple(f'Ada runs {i}' for i in range(chunks)),
      cuts=np.arange(chunks) == 1,
      shots=(np.arange(chunks) >= 1).astype(np.int32),
      film=2**40 * number + 10,  # as clips are numbered
    )
    for number, chunks in enumerate((3, 2, 4, 3, 2))
  ]


@pytest.fixture(scope='module')
def weights(cfg, tmp_path_factory):
  """Weights of a network whose head is not zero."""
  params = denoiser.init_params(cfg.dit, jax.random.key(0))
  params = with_random_head(params, 0.1)
  folder = tmp_path_factory.mktemp('weights')
  for name in ('base', 'base_bidirectional'):
    save_tree(folder / f'{name}.safetensors', params, {})
  return folder


@pytest.fixture(scope='module')
def teacher(cfg, weights):
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  made = trajectories.make_teach(cfg, weights / 'base.safetensors', mesh)

  def teach(group):
    with jax.set_mesh(mesh):
      return made(group)

  return teach


@pytest.fixture(scope='module')
def written(cfg, films, teacher, tmp_path_factory):
  out = tmp_path_factory.mktemp('trajectories')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(trajectories, '_PART_BYTES', 1)  # parts of a batch
    for shard in (1, 0):
      trajectories.write_parts(cfg, films, 5, teacher, out, (shard, 2))
  films_lib.record_settings(out, initialisation.trajectory_settings(cfg))
  return out


def test_shards_write_every_film_once(written, films):
  found = list(LatentFilms(written))
  assert len(list((written / 'films').iterdir())) == 3
  assert [film.film for film in found] == [film.film for film in films]
  for film, source in zip(found, films, strict=True):
    chunks = min(3, len(source.prompts))
    assert film.prompts == source.prompts[:chunks]
    np.testing.assert_array_equal(film.shots, source.shots[:chunks])
    np.testing.assert_array_equal(film.latents, source.latents[: 3 * chunks])
    assert film.points.shape == (3 * chunks, 4, *film.latents.shape[1:])


def test_written_parts_are_not_made_again(cfg, films, written, monkeypatch):
  monkeypatch.setattr(trajectories, '_PART_BYTES', 1)

  def never(group):
    raise AssertionError('made again')

  trajectories.write_parts(cfg, films, 5, never, written)


def test_a_film_has_one_trajectory_in_any_batch(films, teacher, written):
  (alone,) = teacher(films[3:4])
  together = LatentFilms(written)[3]
  for name in ('points', 'end'):
    np.testing.assert_allclose(
      getattr(alone, name).astype(np.float32),
      getattr(together, name).astype(np.float32),
      atol=2e-3,
    )
  other = LatentFilms(written)[0]  # as long, with noise of its own
  assert np.abs(alone.points[:, 0] - other.points[:, 0]).max() > 1


@pytest.mark.parametrize(
  ('section', 'change'),
  [
    ('init', {'guidance': 2.5}),
    ('memory', {'scope': 'shared'}),
    ('rollout', {'negative_prompt': 'rain'}),
  ],
)
def test_trajectories_of_another_teacher_are_refused(
  cfg, written, section, change
):
  init = dataclasses.replace(cfg.init, trajectories=str(written))
  reading = dataclasses.replace(cfg, init=init)
  assert len(initialisation.read_trajectories(reading)) == 5
  settings = dataclasses.replace(getattr(reading, section), **change)
  other = dataclasses.replace(reading, **{section: settings})
  (name,) = change
  with pytest.raises(
    UserError, match=f'config.{section}.{name} is .* were made'
  ):
    initialisation.read_trajectories(other)


def test_each_point_leads_to_the_next_and_the_last_to_the_end(
  cfg, weights, films, written
):
  """Integrates the teacher step by step."""
  params, _ = load_tree(weights / 'base.safetensors')
  text = make_text(cfg.text)
  row = fit_film(films[0], text.encode, 3, 3)
  whole = guidance.films({name: x[None] for name, x in row.items()}, 3)
  film_fn = denoiser.make_film_fn(cfg.dit, cfg.memory)
  velocity_fn = guidance.guided(
    film_fn, whole, jax.random.key(0), jnp.asarray(text.encode([''])[0]), 2.0
  )
  found = LatentFilms(written)[0]
  states = [*np.moveaxis(found.points, 1, 0), found.end]
  noise = states[0].astype(np.float32)
  assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1
  velocity_fn = jax.jit(velocity_fn)
  times = timesteps.euler_grid(4, cfg.diffusion.shift)
  for j in range(4):
    x, after = (
      jnp.asarray(state, jnp.float32).reshape(whole.clean_BNFYXC.shape)
      for state in states[j : j + 2]
    )
    t, t_next = (jnp.full(whole.shape_BNF, time) for time in times[j : j + 2])
    made = solver.euler_step(x, velocity_fn(params, x, t), t, t_next)
    np.testing.assert_allclose(made, after, atol=1e-2)
    assert jnp.abs(made - x).max() > 0.1


def test_batches_carry_trajectories_padded_as_films_are(cfg, written):
  text = make_text(cfg.text)
  batch = next(
    make_batches(
      LatentFilms(written), text.encode, chunks=3, frames_per_chunk=3, batch=5,
      seed=0,
    )
  )  # fmt: skip
  latents = batch['latents'].shape
  assert batch['end'].shape == latents
  assert batch['points'].shape == (*latents[:2], 4, *latents[2:])
  mask = np.repeat(batch['mask'], 3, 1) > 0
  assert 0 < (~mask).sum()
  for name in ('end', 'points'):
    assert batch[name].dtype == np.float32
    assert not batch[name][~mask].any() and batch[name][mask].all()
  np.testing.assert_array_equal(batch['shots'] == -1, batch['mask'] == 0)


@pytest.mark.parametrize(
  ('changes', 'sentence'),
  [
    (
      {'init.guidance': 3.0},
      r'config\.init\.guidance is 3\.0, but .* with 2\.0',
    ),
    (
      {'init.teacher': 'bidirectional'},
      'is bidirectional, but .* with causal',
    ),
    ({'memory.policy': 'window'}, 'is window, but .* with camr'),
    ({'film.height': 64}, 'are 4x4x16 .* make them 8x4x16; give'),
  ],
)
def test_trajectories_of_other_settings_are_refused(
  changes, sentence, written, weights
):
  cfg = settings({'init.trajectories': str(written)} | changes)
  with pytest.raises(UserError, match=sentence):
    stages.find('init').build(cfg, weights)


def test_films_without_trajectories_are_refused(films, tmp_path, weights):
  shape = films[0].latents.shape[1:]
  films_lib.write_films(tmp_path, 'part', shape, lambda part: films, [0])
  cfg = settings(trajectories=str(tmp_path))
  with pytest.raises(UserError, match='films without trajectories'):
    stages.find('init').build(cfg, weights)


@pytest.mark.slow
@pytest.mark.parametrize('stored', [True, False])
def test_from_a_bidirectional_base_to_a_student(
  stored, films, tmp_path, weights, monkeypatch
):
  cfg = settings(teacher='bidirectional')
  shape = films[0].latents.shape[1:]
  films_lib.write_films(tmp_path / 'films', 'part', shape, lambda _: films, [0])
  cfg = dataclasses.replace(
    cfg,
    train=dataclasses.replace(cfg.train, codec_weights='made up'),
    data=dataclasses.replace(cfg.data, films=str(tmp_path / 'films')),
  )
  monkeypatch.setattr(base_stage, 'weights_path', lambda *args: None)
  monkeypatch.setattr(base_stage, 'load_codec', lambda *args: (None, None))
  monkeypatch.setattr(base_stage, 'make_whole_film_sampler', lambda *args: None)
  base, _ = load_tree(weights / 'base.safetensors')
  save_tree(tmp_path / 'base.safetensors', base, {})
  mesh = make_mesh(cfg.mesh, jax.devices()[:1])
  trainer.run_stage(stages.find('base_bidirectional'), cfg, tmp_path, mesh)
  if stored:
    out = tmp_path / 'trajectories'
    with jax.set_mesh(mesh):
      path = tmp_path / 'base_bidirectional.safetensors'
      teach = trajectories.make_teach(cfg, path, mesh)
      trajectories.write_parts(cfg, films, 5, teach, out)
    films_lib.record_settings(out, initialisation.trajectory_settings(cfg))
    (tmp_path / 'base_bidirectional.safetensors').unlink()  # not needed
    init = dataclasses.replace(cfg.init, trajectories=str(out))
    cfg = dataclasses.replace(cfg, init=init)
  trainer.run_stage(stages.find('init'), cfg, tmp_path, mesh)
  made, _ = load_tree(tmp_path / 'init.safetensors')
  moved = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), made, base)
  assert 0 < max(jax.tree.leaves(moved)) < 0.01
