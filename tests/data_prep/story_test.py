"""Story films as records: latents of the render, prompts of the screenplay."""

import dataclasses
import shutil
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.data.sources import LatentFilms
from cinejax.interop.tensors import save_tree
from cinejax.interop.weights import load_codec
from cinejax.models.codec.base import from_bytes
from cinejax.models.codec.select import make_codec
from cinejax.models.text import actions
from cinejax.story import casting, render, steering, world
from cinejax.training import films as film_data
from configs import tiny
from data_prep import films, inspect, story


@pytest.fixture(scope='module')
def cfg():
  config = tiny.get_config()
  config.data.chunks = 11
  return resolve(config)


@pytest.fixture(scope='module')
def weights(cfg, tmp_path_factory):
  path = tmp_path_factory.mktemp('codec') / 'codec.safetensors'
  params = jax.jit(make_codec(cfg.codec).init)(jax.random.key(0))
  save_tree(path, params, {}, dtype=jnp.bfloat16)
  return str(path)


@pytest.fixture(scope='module')
def written(cfg, weights, tmp_path_factory):
  """Four films in parts of two, the writer stopped after the first part."""
  out = tmp_path_factory.mktemp('films')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(story, '_PART', 2)
    parts = story.StoryParts(cfg, weights, 'train', 4)
    for stop in (1, 2):
      for part in parts.numbers()[:stop]:
        films.write_films(out, f'part-{part:05d}', (8, 8, 16), parts, [part])
  return LatentFilms(out)


def test_every_film_once(written):
  assert [film.film for film in written] == [0, 1, 2, 3]


def test_latents_are_those_of_the_film_alone(cfg, weights, written):
  codec, params = load_codec(cfg.codec, weights)
  video = render.render(casting.cast('train', cfg.story.seed, 3))
  alone = jax.jit(codec.encode)(params, from_bytes(video)[None])[0]
  np.testing.assert_allclose(
    written[3].latents.astype(np.float32), alone, atol=5e-3
  )


def test_prompts_cuts_and_shots(cfg, written):
  prefix = cfg.film.cut_prefix
  for film in written:
    truth = casting.cast('train', cfg.story.seed, film.film)
    assert len(film.latents) == 3 * truth.chunks
    segments = truth.chunk_segments()
    for chunk, index in enumerate(segments):
      segment = truth.segments[index]
      opens = chunk == 0 or segments[chunk - 1] != index
      cut = opens and segment.cut
      assert film.cuts[chunk] == cut
      assert film.shots[chunk] == truth.segment_shots()[index]
      prompt = world.prompt(segment)
      assert film.prompts[chunk] == (prefix + prompt if cut else prompt)


def test_no_training_reads_evaluation_films(cfg, weights, written, tmp_path):
  for kind in ('long', 'train'):
    parts = story.StoryParts(cfg, weights, kind, 4)
    out = tmp_path / kind
    shutil.copytree(written.path, out)
    films.record_settings(out, story._settings(parts))
    data = dataclasses.replace(cfg.data, films=str(out))
    reading = dataclasses.replace(cfg, data=data)
    if kind == 'train':
      assert len(film_data.latent_films(reading)) == 4
      continue
    for above in (out, tmp_path):
      data = dataclasses.replace(cfg.data, films=str(above))
      with pytest.raises(UserError, match='no training may see'):
        film_data.latent_films(dataclasses.replace(cfg, data=data))


def test_films_have_the_size_of_the_config(cfg, written, tmp_path, monkeypatch):
  wide = dataclasses.replace(
    cfg,
    film=dataclasses.replace(cfg.film, width=128),
    data=dataclasses.replace(cfg.data, films=str(written.path)),
  )
  with pytest.raises(UserError, match=r'are 8x8x16 .* make them 8x16x16; give'):
    film_data.latent_films(wide)
  args = SimpleNamespace(out=str(tmp_path / 'out'))
  monkeypatch.setattr(flags, 'FLAGS', args)
  monkeypatch.setattr(story.command, 'config', lambda: wide)
  with pytest.raises(UserError, match='story films are 64x64; use a config'):
    story.main()


def test_evaluation_films_have_a_seed_of_their_own(cfg):
  seeds = {
    kind: story.StoryParts(cfg, '', kind, 1).seed
    for kind in ('train', 'eval', 'long', 'strict')
  }
  train = seeds.pop('train')
  assert train not in seeds.values()
  assert story.StoryParts(cfg, '', 'single', 1).seed == train
  assert story.StoryParts(cfg, '', 'long', 1, 7).seed == 7  # films to tune on


def test_steered_films_leave_acting_to_the_frames(cfg):
  def encode(videos, frames):
    return [np.zeros(((frames - 1) // 4 + 1, 8, 8, 16)) for _ in videos]

  truth = casting.cast('eval', 1, 2)
  [film] = story.make_films(cfg, encode, 'eval', 1, range(2, 3), steered=True)
  steered = steering.steer(truth)
  for chunk, prompt in enumerate(film.prompts):
    bare, said = actions.read(prompt)
    assert said == steered[3 * chunk : 3 * chunk + 3]
    assert not any(f' {word} ' in bare for word in world.ACTIONS)
  assert {name for names in steered for name in names} >= {'left', 'jump'}


def test_inspect_describes_the_films(written):
  text = '\n'.join(inspect.describe(written, sample=3, show=1))
  assert 'films             4' in text
  assert '(8, 8, 16)' in text
  assert 'frames a chunk    3.0' in text
  assert written[0].prompts[0] in text
