"""Features are computed once a film, and read back beside it."""

import itertools

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.data.features import FeaturedFilms, FeatureTable
from cinejax.data.pipeline import make_batches
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.evaluation.metrics.features import Features
from cinejax.models.codec.base import to_bytes
from cinejax.models.codec.select import make_codec
from configs import tiny
from data_prep import features, films

FRAMES, SHAPE = 3, (2, 2, 4)


@pytest.fixture
def source(tmp_path):
  """Films of 1, 2 and 3 chunks."""
  rng = np.random.default_rng(0)

  def make(part):
    del part
    for chunks in (1, 2, 3):
      yield LatentFilm(
        latents=rng.normal(size=(chunks * FRAMES, *SHAPE)).astype(np.float16),
        prompts=('ada walks',) * chunks,
        cuts=np.zeros(chunks, bool),
        shots=np.zeros(chunks, np.int32),
        film=10 * chunks,
      )

  films.write_films(tmp_path, 'part', SHAPE, make, [0])
  return LatentFilms(tmp_path)


def _pictures(film):
  """The latents in place of pictures."""
  return film.latents


ENCODER = Features('mean', lambda x: x.mean((1, 2)))


def test_features_are_computed_once_and_join_their_films(source, monkeypatch):
  monkeypatch.setattr(features, '_FILE', 2)
  counts = features.compute(source, [0, 2], _pictures, ENCODER, 'one')
  assert list(counts) == [2]
  counts = features.compute(source, range(3), _pictures, ENCODER, 'one')
  assert list(counts) == [1]
  featured = FeaturedFilms(source, 4)
  for film in featured:
    np.testing.assert_allclose(
      film.features, film.latents.mean((1, 2)), atol=2e-3
    )
  batches = make_batches(
    featured,
    lambda prompts: np.zeros((len(prompts), 1, 1), np.float32),
    chunks=2,
    frames_per_chunk=FRAMES,
    batch=3,
    seed=0,
  )
  (batch,) = itertools.islice(batches, 1)
  assert batch['features'].shape == (3, 2 * FRAMES, 4)
  np.testing.assert_allclose(
    batch['features'], batch['latents'].mean((2, 3)), atol=2e-3
  )


def test_what_the_table_lacks_is_said(source):
  with pytest.raises(UserError, match='lacks features of film 10; run python'):
    FeaturedFilms(source, 4)
  list(features.compute(source, range(3), _pictures, ENCODER, 'one'))
  assert 30 in FeatureTable(source.path)
  with pytest.raises(UserError, match='4 features of a frame; config'):
    FeaturedFilms(source, 5)


@pytest.mark.slow
def test_pictures_are_the_last_of_each_latent():
  cfg = resolve(tiny.get_config())
  codec = make_codec(cfg.codec)
  params = codec.init(jax.random.key(0))
  z_FYXC = np.float16(
    np.random.default_rng(0).normal(size=(6, *cfg.frame_shape))
  )
  film = LatentFilm(z_FYXC, ('a', 'b'), np.zeros(2, bool), np.zeros(2), 0)
  pictures = features.make_pictures(codec, params)(film)
  whole = to_bytes(codec.decode(params, z_FYXC[None].astype(np.float32)))[0]
  np.testing.assert_allclose(
    pictures.astype(int), np.asarray(whole[:: codec.temporal_stride]), atol=1
  )
