"""Comments of a config file, which --help shows."""

import pathlib

from cinejax.core.comments import comment_of, key_comments
from configs import base

SOURCE = """
def get_config():
  config = ConfigDict()
  config.name = 'a'  # of the whole
  film = config.film = ConfigDict()  # frames
  film.fps = 8
  film.size = (  # pixels
    64,
    64,
  )

  film.prefix = ''
  # lines above
  # hold for
  film.one = film.two = 1
  film.three = 2
  film.four = 4  # its own
  film.five = 5
  config.stage = ConfigDict()
  config.stage.base = _stage()


def change(config):
  config.film.fps = 9


def _stage():
  stage = ConfigDict()
  stage.steps = 4  # updates
  lora = stage.lora = ConfigDict()
  lora.rank = 0  # of adapters
  return stage
"""


def test_a_key_has_the_comment_beside_or_above_it():
  comments = key_comments(SOURCE)
  assert {key: comment_of(key, comments) for key in comments} == comments
  assert comments == {
    'name': 'of the whole',
    'film': 'frames',
    'film.fps': 'frames',
    'film.size': 'pixels',
    'film.one': 'lines above hold for',
    'film.two': 'lines above hold for',
    'film.three': 'lines above hold for',
    'film.four': 'its own',
    'stage.*.steps': 'updates',
    'stage.*.lora.rank': 'of adapters',
  }
  assert comment_of('stage.base.lora.rank', comments) == 'of adapters'
  assert comment_of('stage.base.steps', comments) == 'updates'
  assert comment_of('film.prefix', comments) == ''


def test_every_key_of_the_base_config_has_a_comment():
  comments = key_comments(pathlib.Path(base.__file__).read_text())
  keys = base.get_config().to_dict()

  def flat(section, path=''):
    for name, value in section.items():
      if isinstance(value, dict):
        yield from flat(value, f'{path}{name}.')
      else:
        yield path + name

  bare = [key for key in flat(keys) if not comment_of(key, comments)]
  assert bare == [], 'say in configs/base.py what they mean'
