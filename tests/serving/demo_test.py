"""A server makes one film by itself, once."""

import time

from cinejax.config import resolve
from cinejax.film import media
from cinejax.serving.demo import DemoMaker, demo_film
from cinejax.story import world
from configs import story, tiny


def _wait(what):
  end = time.monotonic() + 590
  while not what():
    assert time.monotonic() < end
    time.sleep(0.01)


def test_the_film_is_made_once_and_leaves_no_session(studio):
  others = set(studio.registry.sessions)
  path, maker = studio.registry.demo_path, DemoMaker(studio, 0.01)
  maker.start()
  _wait(path.is_file)
  _wait(lambda: set(studio.registry.sessions) == others)
  chunks = sum(s.chunks for s in demo_film(studio.director.cfg).segments)
  frames = studio.director.timeline.pixel_frames(chunks)
  assert media.probe(path).frames == frames
  before = path.stat().st_mtime_ns
  again = DemoMaker(studio, 0.01)
  again.start()
  again.stop()
  maker.stop()
  assert path.stat().st_mtime_ns == before

  # a film that is not complete when the server stops is given up
  path.unlink()
  unfinished = DemoMaker(studio, 0.01)
  unfinished.start()
  unfinished.stop()
  _wait(lambda: set(studio.registry.sessions) == others)
  assert not path.exists()


def test_its_words_are_those_that_the_model_knows():
  film = demo_film(resolve(story.get_config()))
  assert all(world.parse_prompt(one.prompt) for one in film.segments)
  config = tiny.get_config()
  config.film.height = 32
  film = demo_film(resolve(config))
  assert not any(world.parse_prompt(one.prompt) for one in film.segments)
