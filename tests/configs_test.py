"""Every file under configs/ is a config, and every point of every sweep."""

import dataclasses
import functools
import importlib
import pathlib
import shlex

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import configs
from cinejax.config import resolve
from cinejax.data.sources import LatentFilm
from cinejax.directing.rollout_programs import RolloutPrograms
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.rollout.state import ChunkInput
from cinejax.training import (
  base_stage,
  distillation,
  initialisation,
  stages,
)
from cinejax.training import (
  films as film_data,
)
from cinejax.training.state import branch
from configs import story

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODULES = [
  '.'.join(path.relative_to(ROOT).with_suffix('').parts)
  for path in sorted((ROOT / 'configs').rglob('*.py'))
  if path.stem != '__init__'
]
ABLATIONS = [
  name for name in MODULES if hasattr(importlib.import_module(name), 'sweep')
]


def load(name, point=None):
  config = importlib.import_module(name).get_config().lock()
  config.update_from_flattened_dict(point or {})
  return resolve(config)


@pytest.mark.parametrize('name', MODULES)
def test_a_config_resolves(name):
  assert load(name).name
  doc = importlib.import_module(name).__doc__
  assert doc, 'the docstring of a config is its runbook'


@pytest.mark.parametrize('variant', story.VARIANTS)
def test_a_story_variant_resolves(variant):
  cfg = resolve(story.get_config(variant))
  if variant in configs.STUDENTS:  # what is trained is what is rolled out
    assert cfg.rollout.steps == configs.STUDENTS[variant]
    first = 4 if variant.startswith('frame') else 0
    assert cfg.rollout.first_steps == first


@pytest.mark.parametrize('name', ABLATIONS)
def test_an_ablation_asks_one_question_of_points_that_differ(name):
  module = importlib.import_module(name)
  first, *rest = module.__doc__.splitlines()
  assert first.endswith('?')
  assert f'cinejax.sweep {name.replace(".", "/")}.py' in ' '.join(rest)
  points = module.sweep()
  names = [point['name'] for point in points]
  assert len(set(names)) == len(points) >= 2
  settings = [
    dataclasses.replace(load(name, point), name='') for point in points
  ]
  shared = {repr(cfg) for cfg in settings}
  assert len(shared) == len(points), 'two points are the same'
  for point in points:
    for run in module.runs(point):
      program, *_ = shlex.split(run)
      assert (ROOT / f'{program.replace(".", "/")}.py').is_file()
      assert '{dir}' in run, 'points must not write to one place'


@pytest.mark.parametrize(
  'name', ('routed', 'window', 'bank', 'reroute', 'policy')
)
def test_an_ablation_of_what_ships_can_be_of_a_student(name):
  module = importlib.import_module(f'configs.ablations.{name}')
  own, student = module.get_config(), module.get_config('four')
  assert student.rollout.weights == 'four'
  assert student.rollout.guidance == 1 < own.rollout.guidance
  assert student.eval == own.eval


def points():
  """The last of each sweep; in the slow tier the others."""
  for name in ABLATIONS:
    *others, last = importlib.import_module(name).sweep()
    for point in (last, *others):
      marks = pytest.mark.slow if point in others else ()
      yield pytest.param(name, point, id=f'{name}-{point["name"]}', marks=marks)


@pytest.mark.parametrize(('name', 'point'), list(points()))
def test_a_point_takes_a_step(name, point, monkeypatch, tmp_path):
  module = importlib.import_module(name)
  monkeypatch.setattr(film_data, 'LatentFilms', lambda path: [_film()])
  for part in (base_stage, film_data, initialisation, distillation):
    monkeypatch.setattr(part, 'weights_path', lambda *args: tmp_path)
  monkeypatch.setattr(
    initialisation, 'read_trajectories', lambda cfg: [_film()]
  )
  monkeypatch.setattr(
    base_stage, 'load_codec', lambda cfg, path: (make_codec(cfg), None)
  )
  cfg = load(name, point)
  _rolls(_essence(cfg))
  if any('cinejax.train' in run for run in module.runs(point)):
    for stage in cfg.train.stages:
      _trains(stage, _essence(cfg))


def _essence(cfg):
  """`cfg` without what a step hardly depends on: fewer steps are traced."""
  return dataclasses.replace(
    cfg,
    name='',
    seed=0,
    data=dataclasses.replace(load('configs.tiny').data, films=cfg.data.films),
    rollout=dataclasses.replace(cfg.rollout, guidance=1.0),
  )


def _film():
  return LatentFilm(
    latents=np.zeros((3, 8, 8, 16), np.float16),
    prompts=('Ada runs',),
    cuts=np.array([False]),
    shots=np.array([0], np.int32),
    film=0,
  )


@functools.cache
def _rolls(cfg):
  programs = RolloutPrograms(cfg)
  text = (1, cfg.text.words, cfg.text.features)
  params = _params(cfg.dit)
  state = jax.eval_shape(lambda: programs.begin([0]))
  chunk = ChunkInput(text_BWD=jnp.zeros(text), cut_B=jnp.zeros(1, bool))
  after, output = jax.eval_shape(programs.step, params, state, chunk)
  assert jax.tree.structure(after) == jax.tree.structure(state)
  assert output.latents_BFYXC.shape == (1, *programs.latent_shape)


@functools.cache
def _trains(stage, cfg):
  chunks, frames = 2, cfg.film.frames_per_chunk
  if not cfg.cast_kinds:
    cfg = dataclasses.replace(
      cfg, data=dataclasses.replace(cfg.data, films='made')
    )
  built = stages.find(stage).build(cfg, pathlib.Path())
  batch = {
    'latents': jnp.zeros((1, chunks * frames, 8, 8, cfg.codec.channels)),
    'text': jnp.zeros((1, chunks, cfg.text.words, cfg.text.features)),
    'mask': jnp.ones((1, chunks)),
    'shots': jnp.zeros((1, chunks), jnp.int32),
  }
  if cfg.cast_kinds:  # films that the update paints
    batch = next(built.batches_fn(0))
  if cfg.init.trajectories:
    batch['end'] = batch['latents']
    batch['points'] = jnp.stack([batch['latents']] * 4, 2)
  key = jax.random.key(0)
  params = jax.eval_shape(built.init_fn, key)
  given = {
    name: jax.eval_shape(network.init_fn, key)
    for name, network in built.frozen.items()
  }
  given['ema'] = branch(params, built.ships)
  given['step'] = jnp.int32(0)
  loss, _ = jax.eval_shape(built.loss_fn, params, batch, key, given)
  assert loss.shape == ()


@functools.cache
def _params(dit):
  init = functools.partial(denoiser.init_params, dit)
  return jax.eval_shape(init, jax.random.key(0))
