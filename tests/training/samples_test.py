"""Samples of a stage: what is written to the film that a person looks at."""

import types

import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.data.sources import LatentFilm
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


def test_a_whole_film_differs_by_what_was_learnt_alone(written):
  config = tiny.get_config()
  config.rollout.update({'steps': 2, 'guidance': 1.0, 'sampler': 'euler'})
  cfg = resolve(config)
  codec = types.SimpleNamespace(
    temporal_stride=1,
    init_decode=lambda params, shape: (),
    decode_chunk=lambda params, z, state, first: (z[..., :3], state),
  )
  film = LatentFilm(
    latents=np.zeros((6, *cfg.frame_shape), np.float16),
    prompts=('ada walks', 'cut to: bo runs'),
    cuts=np.array([False, True]),
    shots=np.array([0, 1], np.int32),
    film=0,
  )
  sample_fn = samples.make_whole_film_sampler(
    cfg,
    HashedText(cfg.text.words, cfg.text.features),
    lambda params, clean, x, *others: (params * x, None),
    film,
    codec,
    None,
  )
  for learnt in (0.0, 0.0, 1.0):
    sample_fn(learnt, 'film.mp4')
  first, again, later = written
  assert first.shape == (6, *cfg.frame_shape[:2], 3)
  np.testing.assert_array_equal(first, again)
  assert (first != later).any()
