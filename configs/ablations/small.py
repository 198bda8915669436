"""One equal, small budget, at which ablations train bases of their own.

1,000 updates of 5 films of 7 chunks, from nothing: some 30 minutes a point on
2 CPU cores, in which places, sizes and cuts are learned and nobody's look is:
recall needs a larger budget. Points need the shipped codec and films encoded
by it:

  python -m data_prep.story --config=configs/story.py \\
    --weights=weights/story/codec.safetensors --out=runs/story/films

A larger budget: --config.stage.base.steps=…, and --config.data.chunks=11 for
whole films, of cinejax.sweep.
"""

from ml_collections import ConfigDict

from configs import ablations, story

# what a point that trains a base then does
RUNS = (
  'cinejax.train --workdir={dir}',
  'cinejax.evaluate --weights={dir}/base.safetensors --out={dir}/eval '
  '--metrics=given,generated',
)
SEEDS = (0, 1, 2)  # of training
FILMS = 'runs/story/films'
BASE = 'weights/story/base.safetensors'  # that ships


def runs(point: ablations.Point) -> tuple[str, ...]:
  """Of points that only train a base."""
  del point
  return RUNS


def get_config() -> ConfigDict:
  config = shared(story.get_config())
  config.train.stages = ('base',)
  config.data.chunks = 7
  config.stage.base.steps = 1000
  config.stage.base.batch = 5
  return config


def shared(config: ConfigDict) -> ConfigDict:
  """`config` with what all that train here read."""
  config.train.codec_weights = 'weights/story/codec.safetensors'
  config.data.films = FILMS
  return config
