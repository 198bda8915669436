"""The door: what is known passes, what is not is named."""

import dataclasses
import typing

import pytest

from cinejax import config as config_lib
from cinejax.core.config import rule_of
from cinejax.core.errors import UserError
from configs import base, story, tiny


@pytest.mark.parametrize('module', [base, story, tiny])
def test_shipped_configs_resolve(module):
  config_lib.resolve(module.get_config())


def test_an_unknown_key_names_the_nearest():
  config = tiny.get_config()
  with config.unlocked():
    config.memory.windw_frames = 9
  with pytest.raises(UserError, match=r'did you mean .*window_frames'):
    config_lib.resolve(config)


def test_a_bad_choice_names_the_choices():
  config = tiny.get_config()
  config.memory.policy = 'cmr'
  with pytest.raises(UserError, match='camr, window'):
    config_lib.resolve(config)


def test_a_bank_too_small_is_refused():
  config = tiny.get_config()
  config.memory.bank_frames = 10
  with pytest.raises(UserError, match='at least 11'):
    config_lib.resolve(config)


@pytest.mark.parametrize(
  ('section', 'changes', 'sentence'),
  [
    ('memory', {'scope': 'shared', 'route_layer': 2}, 'route_layer is 2'),
    ('rollout', {'first_steps': 4}, 'first_steps is 4, which is for few_step'),
    ('dit', {'patch': (2, 2, 2)}, 'a token is of one latent frame'),
    ('serving', {'film_chunks': 20_000}, 'film_chunks is 20000'),
    ('memory', {'evict': 'merge'}, 'still reads with config.rollout.commit'),
  ],
)
def test_what_would_be_ignored_is_a_sentence(section, changes, sentence):
  config = tiny.get_config()
  config.rollout.commit = 'fused'
  config[section].update(changes)
  with pytest.raises(UserError, match=sentence):
    config_lib.resolve(config)


@pytest.mark.parametrize(
  'changes',
  [
    {'accumulate': 3},
    {'accumulate': 0},
    {'on_spike': 'hope'},
    {'optimizer': 'adam'},
    {'schedule': 'linear'},
    {'moments_dtype': 'int8'},
  ],
)
def test_what_a_stage_cannot_do_is_a_sentence(changes):
  config = tiny.get_config()
  config.stage.base.update(changes)
  with pytest.raises(UserError, match=r'config\.stage\.base\.'):
    config_lib.resolve(config)


@pytest.mark.parametrize(
  'changes',
  [
    {'dmd.every': 0},
    {'dmd.gan_weight': -0.1},
    {'dmd.gan_weight': 0.1, 'dmd.gan_layers': ()},
    {'dmd.gan_weight': 0.1, 'dmd.gan_layers': (-1, 1)},
    {'dmd.gan_weight': 0.1, 'dmd.gan_layers': (1, 2)},
    {'eval.films': 0},
    {'eval.batch': 0},
    {'eval.seed': -1},
    {'seed': 2**32},
    {'eval.penalty_frames': -1.0},
    {'stage.base.steps': 0},
    {'stage.base.batch': 0},
    {'stage.dmd.ema': 1.0},
    {'stage.base.drop_text': -0.1},
    {'stage.base.lora.rank': -1},
    {'data.chunks': 0},
    {'film.fps': 0},
    {'film.frames_per_chunk': 0},
    {'codec.spatial_stride': 0},
    {'dit.patch': (1, 0, 2)},
    {'dit.patch': (2, 2)},
    {'dit.heads': 0},
    {'dit.head_features': 31},
    {'memory.routed_frames': -1},
    {'rollout.chunks_per_call': 0},
    {'diffusion.shift': float('nan')},
    {'film.fps': float('inf')},
    {'train.save_every_steps': 0},
    {'train.log_every_steps': 0},
    {'train.weights_dtype': 'bf16'},
    {'serving.idle_secs': 0.0},
  ],
)
def test_numbers_out_of_range_are_named(changes):
  config = tiny.get_config()
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=rf'config\.{[*changes][-1]} is'):
    config_lib.resolve(config)


def _fields(section, path='config'):
  kinds = typing.get_type_hints(section)
  for field in dataclasses.fields(section):
    kind, at = kinds[field.name], f'{path}.{field.name}'
    if dataclasses.is_dataclass(kind):
      yield from _fields(kind, at)
    else:
      yield at, kind, field


def test_every_number_states_a_rule():
  numbers = {
    at: field
    for at, kind, field in _fields(config_lib.Config)
    if kind in (int, float)
  }
  assert len(numbers) > 100
  assert [at for at, field in numbers.items() if rule_of(field) is None] == []


@pytest.mark.parametrize(
  ('kind', 'sentence'),
  [('minutes', ''), ('train', 'must be one of eval, long')],
)
def test_films_to_evaluate_are_none_that_train(kind, sentence):
  config = tiny.get_config()
  config.eval.kind = kind
  if sentence:
    with pytest.raises(UserError, match=sentence):
      config_lib.resolve(config)
  else:
    config_lib.resolve(config)
