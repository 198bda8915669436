"""Samples of a stage: what is written to the film that a person looks at."""

import types

import jax
import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.data.sources import LatentFilm
from cinejax.models import denoiser
from cinejax.models.codec.select import make_codec
from cinejax.models.text.hashed import HashedText
from cinejax.training import samples
from configs import tiny


@pytest.fixture
def written(monkeypatch):
  """The videos that samplers write."""
  videos = []
  monkeypatch.setattr(
    samples,
    'write_video',
    lambda path, frames, fps: videos.append(np.stack([*frames])),
  )
  return videos


def test_a_clip_is_above_its_reconstruction(written):
  codec = types.SimpleNamespace(
    encode=lambda params, video: video, decode=lambda params, z: -z
  )
  clip_TYXC = np.full((5, 2, 2, 3), 250, np.uint8)
  samples.make_codec_sampler(codec, clip_TYXC, 8)(None, 'clip.mp4')
  (video,) = written
  above, below = np.split(video, 2, 1)
  np.testing.assert_array_equal(above, clip_TYXC)
  np.testing.assert_array_equal(below, 255 - clip_TYXC)


def test_samples_differ_by_what_was_learnt_alone(written):
  config = tiny.get_config()
  config.rollout.steps = 1
  cfg = resolve(config)
  codec = make_codec(cfg.codec)
  codec_params = codec.init(jax.random.key(0))
  text = HashedText(cfg.text.words, cfg.text.features)
  film = LatentFilm(
    latents=np.zeros((6, *cfg.frame_shape), np.float16),
    prompts=('ada walks', 'cut to: bo runs'),
    cuts=np.array([False, True]),
    shots=np.array([0, 1], np.int32),
    film=0,
  )
  sample_fn = samples.make_film_sampler(cfg, text, film, codec, codec_params)
  params = denoiser.init_params(cfg.dit, jax.random.key(0))
  learnt = jax.tree.map(lambda x: x + 0.1, params)
  for each in (params, params, learnt):
    sample_fn(each, 'film.mp4')
  first, again, later = written
  assert first.shape == (21, 64, 64, 3) and first.dtype == np.uint8
  np.testing.assert_array_equal(first, again)
  assert (first != later).any()
