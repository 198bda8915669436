"""Pictures become still clips, and only as many as the bank has room for."""

import types

import numpy as np
import pytest
from PIL import Image

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.directing import cast
from cinejax.film.cast import CastPicture
from cinejax.film.timeline import Timeline
from cinejax.models.codec.base import from_bytes
from configs import tiny


@pytest.fixture
def codec():
  """Keeps every pixel of the last frame of a latent frame."""
  config = tiny.get_config()
  config.film.height, config.film.width = 16, 32
  config.memory.bank_frames = 6 + 2 + 3 + 7  # two pictures of three frames
  return types.SimpleNamespace(
    cfg=resolve(config),
    timeline=Timeline(3, 4, 8),
    encode_fn=lambda params, video_BTYXC: from_bytes(video_BTYXC[:, ::4]),
    codec_params=None,
  )


def test_a_picture_is_a_still_clip_of_one_chunk(codec, tmp_path):
  Image.new('RGB', (40, 40), (255, 0, 255)).save(tmp_path / 'a.png')
  one = CastPicture('Ada', str(tmp_path / 'a.png'))
  first, again = cast.encode_cast(codec, [one, one])
  assert first.names == ('Ada',)
  assert first.latents_BFYXC.shape == (1, 3, 16, 32, 3)
  expected = np.broadcast_to([1.0, -1.0, 1.0], first.latents_BFYXC.shape)
  np.testing.assert_allclose(first.latents_BFYXC, expected, atol=1e-6)
  np.testing.assert_array_equal(first.latents_BFYXC, again.latents_BFYXC)
  with pytest.raises(UserError, match='has room for 2; give fewer, or set'):
    cast.encode_cast(codec, [one] * 3)


def test_the_set_that_is_advised_has_room(codec):
  with pytest.raises(UserError, match='set it to 21'):
    cast.check_count(codec.cfg, 3)
