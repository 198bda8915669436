"""Stages train on a data set, or on films that are painted as they train."""

import dataclasses
import pathlib

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.interop.weights import load_codec
from cinejax.story.films import make_painter
from cinejax.training import films, stages
from cinejax.training.program import Program
from configs import story

CODEC = pathlib.Path(__file__).parents[2] / 'weights/story/codec.safetensors'


@pytest.fixture(scope='module')
def cfg():
  config = story.get_config('four')
  config.data.chunks = 2
  config.story.kinds = (('crowd', 1.0),)
  config.stage.init.batch = 2
  config.train.codec_weights = str(CODEC)
  return resolve(config)


def test_the_loss_gets_the_painted_films(cfg, tmp_path):
  """It is the loss of the program on a batch that was painted before."""

  def loss_fn(params, batch, key, given):
    return params * batch['latents'].sum() + given['bias'], {}

  plain = Program(init_fn=lambda key: {}, loss_fn=loss_fn)
  text = films.captions(cfg)
  made = films.with_films(plain, cfg, cfg.stage.init, text, tmp_path)
  assert made.frozen['codec'].path == CODEC
  codec, params = load_codec(cfg.codec, CODEC)
  batch = next(made.batches_fn(4))
  assert 'states' in batch and 'latents' not in batch
  given = {'codec': params, 'bias': 3.0}
  loss, _ = jax.jit(made.loss_fn)(2.0, batch, None, given)
  paint = make_painter(codec, cfg.story.appearance_weight)
  latents = jax.jit(paint)(params, batch)['latents']
  np.testing.assert_allclose(loss, 2 * latents.sum() + 3, rtol=1e-5)


def test_a_steered_base_reads_what_its_program_expects(tmp_path):
  base = CODEC.with_name('base.safetensors')
  config = story.get_config('steered')
  config.data.chunks = 2
  config.story.kinds = (('train', 1.0),)
  config.stage.base.batch = 2
  config.train.stages = ('base',)
  config.train.codec_weights = str(CODEC)
  config.train.base_weights = config.train.teller_weights = str(base)
  cfg, stage = resolve(config), stages.find('base')
  stage.check_data(cfg)
  program = stage.build(cfg, tmp_path)
  assert program.frozen['teller'].path == str(base)
  batch = next(program.batches_fn(0))
  shapes = {name: (2, *x.shape) for name, x in stage.example(cfg).items()}
  for name in ('text', 'told', 'mask', 'shots'):
    assert batch[name].shape == shapes[name]
  without = dataclasses.replace(cfg.story, kinds=())
  with pytest.raises(UserError, match='only steered films'):
    stage.check_data(dataclasses.replace(cfg, story=without))


@pytest.mark.parametrize('name', ['base', 'init', 'dmd', 'tune'])
def test_painted_films_need_the_codec_and_no_data_set(cfg, name):
  stage = stages.find(name)
  stage.check_data(cfg)
  assert 'codec' in stage.consumes(cfg)
  story = dataclasses.replace(cfg.story, kinds=())
  with pytest.raises(UserError, match=r'config\.data\.films is empty'):
    stage.check_data(dataclasses.replace(cfg, story=story))


@pytest.mark.parametrize(
  ('changes', 'error'),
  [
    ({'story.kinds': (('pictures', 1.0),)}, 'story.kinds has pictures'),
    (
      {'film.frames_per_chunk': 2, 'memory.window_frames': 8},
      'must divide 3',
    ),
  ],
)
def test_what_cannot_keep_its_frames_is_refused(changes, error):
  config = story.get_config('frame')
  config.update_from_flattened_dict(changes)
  with pytest.raises(UserError, match=error):
    films.check_story(resolve(config))


def test_a_data_set_takes_the_place_of_kinds(cfg):
  assert films.codec_of_films(cfg) == ('codec',)
  films.check_films(cfg)
  data = dataclasses.replace(cfg.data, films='nowhere')
  cfg = dataclasses.replace(cfg, data=data)
  assert films.codec_of_films(cfg) == ()
  with pytest.raises(UserError, match='nowhere'):
    films.check_films(cfg)
