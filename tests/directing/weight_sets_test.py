"""Which weights a film is made with; nothing is generated."""

import dataclasses
import json
import pathlib

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.directing.loading import load_director
from cinejax.directing.weight_sets import WeightSets, find_students
from cinejax.film.journal import Settings
from configs import story, tiny
from tests.networks import save_networks


@pytest.fixture
def loads():
  return []


@pytest.fixture
def director(loads):
  def load(file, adapters):
    loads.append((file.name, list(adapters)))
    return object()

  cfg = resolve(tiny.get_config())
  cfg = dataclasses.replace(
    cfg, serving=dataclasses.replace(cfg.serving, programs=4, weight_sets=2)
  )
  students = {2: pathlib.Path('two')}
  sets = WeightSets(load, pathlib.Path('four'), students, ['a', 'b:0.5'])
  return Director(cfg, None, None, object(), weight_sets=sets)


def test_a_strength_is_another_set_of_weights_for_the_same_program(
  director, loads
):
  half = director.variant(Settings(lora_strength=0.5))
  assert loads == [('four', ['a:0.5', 'b:0.25'])]
  assert half.step is director.step and half.params is not director.params
  sink = director.variant(Settings('sink', lora_strength=0.5))
  assert sink.params is half.params and len(loads) == 1
  assert sink.step is director.variant(Settings('sink')).step
  assert director.variant(Settings(lora_strength=1)).params is director.params
  bare = dataclasses.replace(director, weight_sets=None)
  with pytest.raises(UserError, match='there is no LoRA'):
    bare.variant(Settings(lora_strength=0.5))


def test_steps_take_the_student_that_is_there(director, loads):
  two = director.variant(Settings(steps=2))
  assert loads == [('two', ['a:1.0', 'b:0.5'])]
  assert two.cfg.rollout.steps == 2 and two.step is not director.step
  assert director.variant(Settings(steps=3)).params is director.params


def test_what_was_used_longest_ago_is_dropped(director):
  strengths = [Settings(lora_strength=one) for one in (0.1, 0.2, 0.3)]
  for settings in strengths:
    director.variant(settings)
  kept = [director.has_variant(settings) for settings in strengths]
  assert kept == [False, True, True]
  policies = [Settings(one) for one in ('window', 'sink', 'uniform', 'random')]
  for settings in policies:
    director.variant(settings)
  assert not any(director.has_variant(settings) for settings in strengths)
  assert all(director.has_variant(settings) for settings in policies)
  assert director.has_variant(Settings())


def test_a_strength_that_a_film_sets_is_that_of_the_flag(tmp_path):
  cfg = resolve(tiny.get_config())
  save_networks(cfg, tmp_path)
  file, features = tmp_path / 'lora.st', cfg.dit.heads * cfg.dit.head_features
  name = 'transformer.blocks.0.attn2.to_v.lora_{}.weight'
  down = np.linspace(-1, 1, 2 * features, dtype=np.float32).reshape(2, -1)
  save_file({name.format('A'): down, name.format('B'): down.T}, file)
  director = load_director(cfg, str(tmp_path), [f'{file}:0.8'])
  half = director.variant(Settings(lora_strength=0.5)).params
  none = director.variant(Settings(lora_strength=0)).params
  flag = load_director(cfg, str(tmp_path), [f'{file}:0.4']).params
  bare = load_director(cfg, str(tmp_path)).params
  jax.tree.map(np.testing.assert_array_equal, half, flag)
  jax.tree.map(np.testing.assert_array_equal, none, bare)
  same = jax.tree.map(np.array_equal, half, bare)
  assert not all(jax.tree.leaves(same))


def test_students_are_found_by_what_their_files_say(tmp_path):
  cfg = resolve(story.get_config('four'))

  def save(name, stage='dmd', **rollout):
    config = {
      'film': {'frames_per_chunk': cfg.film.frames_per_chunk},
      'diffusion': {'shift': cfg.diffusion.shift},
      'dit': {'layers': cfg.dit.layers, 'heads': cfg.dit.heads},
      'rollout': {'sampler': 'few_step', 'first_steps': 0} | rollout,
    }
    metadata = {'stage': stage, 'config': json.dumps(config)}
    path = tmp_path / f'{name}.safetensors'
    save_file({'x': np.zeros(1, np.float32)}, path, metadata)
    return path

  four, two = save('four', steps=4), save('two', steps=2)
  save('unfinished', stage='init', steps=1)
  save('first', steps=1, first_steps=4)
  (tmp_path / 'no.safetensors').write_text('no weights')
  assert find_students(cfg, four) == {2: two}
  assert find_students(resolve(story.get_config()), four) == {}
