"""A tiny director, compiled once for all tests of serving, and a browser."""

import dataclasses
import functools
import shutil

import pytest

from cinejax.config import resolve
from cinejax.directing.director import Director
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.serving.studio import Studio
from configs import tiny
from tests.networks import numpy_params


@pytest.fixture(scope='session')
def director():
  config = tiny.get_config()
  config.film.height = config.film.width = 16
  config.film.fps = 480  # a chunk is on screen for 25 ms
  config.dit.layers = 1
  config.rollout.guidance = 1.0
  config.serving.kept_states = 2
  config.serving.film_chunks = 40
  config.serving.sessions = 3
  cfg = resolve(config)
  codec, init = make_codec(cfg.codec), denoiser.init_params
  params = numpy_params(functools.partial(init, cfg.dit))
  return Director(cfg, codec, numpy_params(codec.init), params)


@dataclasses.dataclass(frozen=True)
class SharedDirector(Director):
  """Runs the programs of a director that differs in nothing they read."""

  compiled: Director

  @property
  def step(self):
    return self.compiled.step

  @property
  def scan_fn(self):
    return self.compiled.scan_fn

  @property
  def live_step(self):
    return self.compiled.live_step

  @property
  def decode_fn(self):
    return self.compiled.decode_fn


@pytest.fixture(scope='session')
def with_settings(director):
  """The same director, with settings that no compiled program knows."""

  def change(film=None, serving=None):
    cfg = director.cfg
    cfg = dataclasses.replace(
      cfg,
      film=dataclasses.replace(cfg.film, **(film or {})),
      serving=dataclasses.replace(cfg.serving, **(serving or {})),
    )
    return SharedDirector(
      cfg,
      director.codec,
      director.codec_params,
      director.params,
      compiled=director,
    )

  return change


@pytest.fixture(scope='session')
def slow_paced(with_settings):
  """At 8 frames a second: it waits for its time on screen."""
  return with_settings(film={'fps': 8.0})


@pytest.fixture(scope='session')
def studio(director, tmp_path_factory):
  studio = Studio(director, tmp_path_factory.mktemp('sessions'))
  studio.start()
  yield studio
  assert studio.stop(10)


@pytest.fixture
def session(studio):
  """A session that has not begun, closed in the end."""
  name = studio.create(seed=5)['id']
  yield name
  if name in studio.registry.sessions:
    studio.close(name)


@pytest.fixture(scope='module')
def browser():
  """Chromium, without a window."""
  api = pytest.importorskip('playwright.sync_api')
  chromium = shutil.which('chromium') or shutil.which('google-chrome')
  if chromium is None:
    pytest.skip('no Chromium here: apt install chromium')
  with api.sync_playwright() as playwright:
    yield playwright.chromium.launch(
      executable_path=chromium, args=['--no-sandbox']
    )
