import av
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models.codec import base
from cinejax.models.codec.taef2 import Taef2, load_taef2
from cinejax.objectives.reconstruction import psnr

CODEC = Taef2()
ENCODE = jax.jit(CODEC.encode)
DECODE = jax.jit(CODEC.decode)
DECODE_CHUNK = jax.jit(CODEC.decode_chunk, static_argnames='first')
CLIP = 'sintel_rooftop_7shots_848x480_25fps.mp4'
CLIP_FRAMES = 652


@pytest.fixture(scope='module')
def params(shared_data):
  return load_taef2(shared_data / 'weights')


def _frames(path, count):
  """uint8 [1, T, 240, 416, 3]: `count` frames, evenly over the clip."""
  wanted = {(2 * i + 1) * CLIP_FRAMES // (2 * count) for i in range(count)}
  with av.open(str(path)) as file:
    frames = [
      frame.to_ndarray(format='rgb24', width=416, height=240)
      for i, frame in enumerate(file.decode(video=0))
      if i in wanted
    ]
  return np.stack(frames)[None]


def _psnr_T(params, video_BTYXC):
  video_BTYXC = base.from_bytes(video_BTYXC)
  decoded_BTYXC = DECODE(params, ENCODE(params, video_BTYXC))
  decoded_BTYXC = jnp.clip(decoded_BTYXC, -1.0, 1.0)
  return psnr(
    jnp.swapaxes(decoded_BTYXC, 0, 1), jnp.swapaxes(video_BTYXC, 0, 1)
  )


def test_loaded_names_and_shapes_are_those_of_init(params):
  shapes = jax.eval_shape(CODEC.init, jax.random.key(0))
  assert jax.tree.structure(params) == jax.tree.structure(shapes)
  assert jax.tree.all(
    jax.tree.map(lambda a, b: a.shape == b.shape, params, shapes)
  )


@pytest.mark.slow
def test_frames_of_sintel_come_back(params, shared_data):
  psnr_T = _psnr_T(params, _frames(shared_data / 'videos' / CLIP, 4))
  assert psnr_T.mean() >= 33.0 and psnr_T.min() >= 31.0


@pytest.mark.slow
def test_more_frames_of_sintel_come_back(params, shared_data):
  psnr_T = _psnr_T(params, _frames(shared_data / 'videos' / CLIP, 28))
  assert psnr_T.mean() >= 33.0 and psnr_T.min() >= 31.0


@pytest.mark.slow
def test_decoding_in_chunks_is_decoding_at_once():
  params = jax.jit(CODEC.init)(jax.random.key(0))
  z_BFYXC = jax.random.normal(jax.random.key(1), (2, 2, 1, 1, 32))
  state = CODEC.init_decode(params, (2, 1, 1, 32))
  first_BTYXC, state = DECODE_CHUNK(params, z_BFYXC[:, :1], state, first=True)
  second_BTYXC, _ = DECODE_CHUNK(params, z_BFYXC[:, 1:], state, first=False)
  np.testing.assert_allclose(
    jnp.concatenate([first_BTYXC, second_BTYXC], axis=1),
    DECODE(params, z_BFYXC),
    atol=1e-5,
  )


def test_missing_weights_are_named(tmp_path):
  with pytest.raises(UserError, match='taef2_encoder'):
    load_taef2(tmp_path)
