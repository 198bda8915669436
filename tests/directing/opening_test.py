"""The given beginning of a film is trimmed, scaled and a part of it."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.directing import opening
from cinejax.film import media, screenplay
from cinejax.film.timeline import Timeline
from cinejax.models.codec.base import from_bytes
from configs import tiny


@pytest.fixture
def director():
  """Its codec keeps the first pixel of every latent's last frame."""
  config = tiny.get_config()
  config.film.height, config.film.width = 16, 32

  def encode(params, video_BTYXC):
    del params
    return from_bytes(video_BTYXC[:, ::4, ::8, ::8])

  return types.SimpleNamespace(
    cfg=resolve(config),
    timeline=Timeline(3, 4, 8),
    encode_fn=encode,
    codec_params=None,
  )


def test_an_image_fills_the_frame_and_is_one_latent(director, tmp_path):
  picture_YXC = np.zeros((64, 64, 3), np.uint8)
  picture_YXC[10:54] = 255  # more than a 2:1 frame keeps of a square
  Image.fromarray(picture_YXC).save(tmp_path / 'a.png')
  z_BFYXC = opening.from_image(director, tmp_path / 'a.png')
  assert z_BFYXC.shape == (1, 1, 2, 4, 3)
  np.testing.assert_allclose(z_BFYXC, 1.0, atol=0.02)
  assert opening.given_chunks(director, z_BFYXC) == 0
  with pytest.raises(UserError, match=r'b\.png is no image'):
    opening.from_image(director, tmp_path / 'b.png')


def test_a_picture_that_is_too_narrow_is_refused(director, tmp_path):
  Image.new('RGB', (2, 600)).save(tmp_path / 'a.png')
  with pytest.raises(
    UserError, match='of 2x600 pixels is too narrow for films'
  ):
    opening.from_image(director, tmp_path / 'a.png')


def test_a_clip_gives_its_last_whole_chunks(director, tmp_path):
  grey_T = np.linspace(0, 240, 25).astype(np.uint8)
  frames = np.broadcast_to(grey_T[:, None, None, None], (25, 16, 32, 3))
  path = tmp_path / 'clip.mp4'
  media.write_video(path, list(map(np.ascontiguousarray, frames)), fps=8)
  z_BFYXC = opening.from_video(director, path)
  # 25 frames hold 2 chunks, 21 frames: from frame 4 on
  assert opening.given_chunks(director, z_BFYXC) == 2
  kept_F = grey_T[4::4].astype(np.float32) / 127.5 - 1
  np.testing.assert_allclose(z_BFYXC[0, :, 0, 0, 0], kept_F, atol=0.04)
  media.write_video(path, list(map(np.ascontiguousarray, frames[:8])), fps=8)
  with pytest.raises(UserError, match=r'has 8 frames .* a chunk needs 9'):
    opening.from_video(director, path)


def test_a_film_continues_in_the_shot_of_its_first_prompt():
  film = screenplay.Film(
    tuple(screenplay.Segment(p, chunks=2) for p in ('a', 'b'))
  )
  assert opening.with_given_chunks(film, 0) is film
  prompts = screenplay.chunk_prompts(
    opening.with_given_chunks(film, 3), 'Cut to: ', 1.5
  )
  assert [p.prompt for p in prompts] == [*['a'] * 5, 'Cut to: b', 'b']
  assert [p.cut for p in prompts][1:] == [False] * 4 + [True, False]


def test_nothing_given_is_no_chunk(director):
  assert opening.given_chunks(director, None) == 0
  assert opening.given_chunks(director, jnp.zeros((1, 6, 2, 4, 3))) == 2
