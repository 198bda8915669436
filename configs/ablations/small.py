"""A small budget with which ablations train bases.

1,000 updates on 5 films of 7 chunks, from random weights; about 30 minutes per
point on 2 CPU cores. This is enough to learn places, sizes and cuts, but not
appearances: recall needs a larger budget. Points need the shipped codec and
films that it has encoded:

  python -m data_prep.story --config=configs/story.py \\
    --weights=weights/story/codec.safetensors --out=runs/story/films

For a larger budget give --config.stage.base.steps=… to cinejax.sweep, and
--config.data.chunks=11 for whole films.
"""

from ml_collections import ConfigDict

from configs import ablations, story

# commands of a point that trains a base and evaluates it
RUNS = (
  'cinejax.train --workdir={dir}',
  'cinejax.evaluate --weights={dir}/base.safetensors --out={dir}/eval '
  '--metrics=given,generated',
)
SEEDS = (0, 1, 2)  # training seeds
FILMS = 'runs/story/films'
BASE = 'weights/story/base.safetensors'  # the shipped base
CODEC = 'weights/story/codec.safetensors'  # its codec


def runs(point: ablations.Point) -> tuple[str, ...]:
  """The `runs` of points that train a base and evaluate it."""
  del point
  return RUNS


def get_config() -> ConfigDict:
  config = shared(story.get_config())
  config.train.stages = ('base',)
  config.data.chunks = 7
  config.stage.base.steps = 1000
  config.stage.base.batch = 5
  return config


def curriculum() -> ConfigDict:
  """The base of the curriculum in one phase, on films that it renders."""
  config = story.get_config('curriculum')
  config.train.stages = ('base',)
  config.train.codec_weights = CODEC
  config.stage.base.phases = ()
  return config


def shared(config: ConfigDict) -> ConfigDict:
  """Sets the codec and the films that all trainings here read."""
  config.train.codec_weights = CODEC
  config.data.films = FILMS
  return config
