import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.interop import tensors
from cinejax.interop.weights import load_codec
from cinejax.models.codec.select import make_codec
from cinejax.models.config import CodecConfig

PLAIN = {'tile': 0, 'tile_overlap': 0, 'compute_dtype': 'float32'}
CFG = CodecConfig('patch', 4, 8, channels=16, width=32, blocks=2, **PLAIN)
CODEC = make_codec(CFG)
CONV = make_codec(dataclasses.replace(CFG, encoder='conv', head_features=24))
# compiled whole: one operation at a time takes minutes
INIT = jax.jit(CODEC.init)
ENCODE = jax.jit(CODEC.encode)
ENCODE_CONV = jax.jit(CONV.encode)
DECODE = jax.jit(CODEC.decode)
DECODE_CHUNK = jax.jit(CODEC.decode_chunk, static_argnames='first')


@pytest.fixture(scope='module')
def params():
  # what is not of `init`, so that forgetting it shows
  fresh = INIT(jax.random.key(0))
  head = jax.random.normal(jax.random.key(3), (32, 192)) / 6
  fresh['decoder']['patch']['kernel'] = head  # zero in `init`
  return {
    **fresh,
    'mean_C': jnp.linspace(-1.0, 1.0, 16),
    'std_C': jnp.linspace(0.5, 2.0, 16),
  }


@pytest.fixture(scope='module')
def conv_params():
  fitted = CONV.fit(jax.jit(CONV.init)(jax.random.key(0)), _measured(CONV))
  out = jax.random.normal(jax.random.key(4), (32, 16)) / 6  # zero in `init`
  fitted['correction']['out']['kernel'] = out
  return fitted


def _measured(codec):
  return codec.measure(_moving())


def _video(frames, batch=2):
  return jax.random.uniform(
    jax.random.key(1), (batch, frames, 16, 24, 3), minval=-1.0
  )


def _latents(frames):
  return jax.random.normal(jax.random.key(2), (2, frames, 2, 3, 16))


def test_the_first_latent_is_one_frame_and_later_ones_four(params):
  z_BFYXC = ENCODE(params, _video(13))
  assert z_BFYXC.shape == (2, 4, 2, 3, 16)
  assert DECODE(params, z_BFYXC).shape == (2, 13, 16, 24, 3)
  one_BFYXC = ENCODE(params, _video(1))
  assert one_BFYXC.shape == (2, 1, 2, 3, 16)
  assert DECODE(params, one_BFYXC).shape == (2, 1, 16, 24, 3)


def test_encoding_a_prefix_is_the_prefix_of_the_encoding(params):
  video_BTYXC = _video(17)
  z_BFYXC = ENCODE(params, video_BTYXC)
  for latents in (1, 3):
    prefix_BFYXC = ENCODE(params, video_BTYXC[:, : 4 * latents - 3])
    np.testing.assert_allclose(prefix_BFYXC, z_BFYXC[:, :latents], atol=1e-5)


@pytest.mark.parametrize('chunks', [(1, 1, 1, 1, 1, 1), (3, 3), (2, 3, 1)])
def test_decoding_in_chunks_is_decoding_at_once(params, chunks):
  z_BFYXC = _latents(sum(chunks))
  whole_BTYXC = DECODE(params, z_BFYXC)
  state = CODEC.init_decode(params, (2, 2, 3, 16))
  shapes = jax.tree.map(jnp.shape, state)
  parts, start = [], 0
  for size in chunks:
    part_BTYXC, state = DECODE_CHUNK(
      params, z_BFYXC[:, start : start + size], state, first=start == 0
    )
    assert part_BTYXC.shape[1] == 4 * size - 3 * (start == 0)
    assert jax.tree.map(jnp.shape, state) == shapes
    parts.append(part_BTYXC)
    start += size
  np.testing.assert_allclose(
    jnp.concatenate(parts, axis=1), whole_BTYXC, atol=1e-5
  )


def test_pixels_depend_on_past_latents_and_on_no_later_one(params):
  def group(z_BFYXC):  # the four frames of latent 2
    return DECODE(params, z_BFYXC)[:, 5:9]

  z_BFYXC = _latents(5)
  grad_BFYXC = jax.jit(jax.grad(lambda z: group(z).sum()))(z_BFYXC)
  reach_F = np.abs(grad_BFYXC).sum((0, 2, 3, 4))
  assert (reach_F[:3] > 0).all() and (reach_F[3:] == 0).all()


def _moving(count=20):
  """Light squares that move over a ramp: uint8 [N, 5, 16, 16, 3]."""
  rng = np.random.default_rng(0)
  videos_NTYXC = np.zeros((count, 5, 16, 16, 3), np.uint8)
  videos_NTYXC += np.arange(0, 160, 10, dtype=np.uint8)[:, None]
  for video_TYXC in videos_NTYXC:
    y, x = rng.integers(0, 8, 2)
    for t, image_YXC in enumerate(video_TYXC):
      image_YXC[y : y + 6, x + t // 2 : x + t // 2 + 6] = rng.integers(90, 255)
  return videos_NTYXC


def test_fitted_components_are_the_best_linear_code(params):
  videos_NTYXC = _moving()
  fitted = CODEC.fit(INIT(jax.random.key(0)), CODEC.measure(videos_NTYXC))
  video_BTYXC = jnp.asarray(videos_NTYXC, jnp.float32) / 127.5 - 1.0
  z_BFYXC = ENCODE(fitted, video_BTYXC)
  np.testing.assert_allclose(z_BFYXC.mean((0, 1, 2, 3)), 0.0, atol=1e-3)
  np.testing.assert_allclose(jnp.square(z_BFYXC).mean(), 1.0, atol=1e-3)
  loudness_C = np.asarray(z_BFYXC.std((0, 1, 2, 3)))
  assert (np.diff(loudness_C) < 1e-3).all()
  # an untrained decoder is the linear inverse; numpy's SVD says how good
  first = jnp.repeat(video_BTYXC[:, :1], 3, 1)
  blocks_NG = np.asarray(
    jnp.concatenate([first, video_BTYXC], 1)
    .reshape(20, 2, 4, 2, 8, 2, 8, 3)
    .transpose(0, 1, 3, 5, 2, 4, 6, 7)
    .reshape(-1, 768)
  )
  centred_NG = blocks_NG - blocks_NG.mean(0)
  spectrum = np.linalg.svd(centred_NG, compute_uv=False) ** 2
  best = spectrum[16:].sum() / blocks_NG.size
  error_BTYXC = np.square(DECODE(fitted, z_BFYXC) - video_BTYXC)
  weight_T = np.array([4, 1, 1, 1, 1])  # the first frame stood for four
  seen = np.average(error_BTYXC.mean((0, 2, 3, 4)), weights=weight_T)
  # the other three of the first four are not shown; they are alike
  np.testing.assert_allclose(seen, best, rtol=0.05)


def test_a_still_film_has_still_latents(params):
  still_BTYXC = jnp.repeat(_video(1), 13, 1)
  z_BFYXC = ENCODE(params, still_BTYXC)
  np.testing.assert_allclose(z_BFYXC[:, 1:], z_BFYXC[:, :-1], atol=1e-5)


def test_a_fresh_conv_encoder_is_the_linear_one_turned(params):
  """Distances stay; channels vary alike, so none needs to be squashed."""
  videos_NTYXC = _moving()
  video_BTYXC = jnp.asarray(videos_NTYXC, jnp.float32) / 127.5 - 1.0
  linear = CODEC.fit(INIT(jax.random.key(0)), _measured(CODEC))
  conv = CONV.fit(jax.jit(CONV.init)(jax.random.key(0)), _measured(CONV))
  z_NC = np.asarray(ENCODE_CONV(conv, video_BTYXC)).reshape(-1, 16)
  old_NC = np.asarray(ENCODE(linear, video_BTYXC)).reshape(-1, 16)
  np.testing.assert_allclose(z_NC.mean(0), 0.0, atol=1e-3)
  np.testing.assert_allclose(z_NC.std(0), 1.0, atol=2e-3)
  np.testing.assert_allclose(
    z_NC[:8] @ z_NC[8:16].T, old_NC[:8] @ old_NC[8:16].T, atol=1e-2
  )
  fresh_BTYXC = jax.jit(CONV.decode)(conv, ENCODE_CONV(conv, video_BTYXC))
  old_BTYXC = DECODE(linear, ENCODE(linear, video_BTYXC))
  np.testing.assert_allclose(fresh_BTYXC, old_BTYXC, atol=1e-3)


def test_conv_encoding_in_parts_is_encoding_at_once(conv_params):
  video_BTYXC = _video(17)
  z_BFYXC = ENCODE_CONV(conv_params, video_BTYXC)
  assert z_BFYXC.shape == (2, 5, 2, 3, 16)
  for latents in (1, 3):
    prefix_BFYXC = ENCODE_CONV(conv_params, video_BTYXC[:, : 4 * latents - 3])
    np.testing.assert_allclose(prefix_BFYXC, z_BFYXC[:, :latents], atol=1e-5)
  # and later parts: a frame that is not used stands for all before
  later_BFYXC = ENCODE_CONV(conv_params, video_BTYXC[:, 8:])
  np.testing.assert_allclose(later_BFYXC[:, 1:], z_BFYXC[:, 3:], atol=1e-5)


def test_a_conv_latent_is_of_its_own_frames(conv_params):
  @jax.jit
  @jax.grad
  def reach(video_BTYXC):
    return CONV.encode(conv_params, video_BTYXC)[:, 2].sum()

  reach_T = np.abs(reach(_video(17))).sum((0, 2, 3, 4))
  assert (reach_T[5:9] > 0).all()
  assert not reach_T[:5].any() and not reach_T[9:].any()


def test_a_conv_latent_sees_its_neighbours(conv_params):
  video_BTYXC = _video(1)
  other_BTYXC = video_BTYXC.at[:, :, :8, 8:16].set(0.5)
  moved_YX = np.abs(
    ENCODE_CONV(conv_params, video_BTYXC)
    - ENCODE_CONV(conv_params, other_BTYXC)
  ).max((0, 1, 4))
  assert (moved_YX > 1e-4).all()


def test_latents_are_standardised_and_mean_the_same(conv_params):
  videos_NTYXC = _moving()
  video_BTYXC = jnp.asarray(videos_NTYXC, jnp.float32) / 127.5 - 1.0
  standard = CONV.standardise(conv_params, videos_NTYXC)
  z_BFYXC = ENCODE_CONV(standard, video_BTYXC)
  np.testing.assert_allclose(z_BFYXC.mean((0, 1, 2, 3)), 0.0, atol=1e-4)
  np.testing.assert_allclose(z_BFYXC.std((0, 1, 2, 3)), 1.0, atol=1e-4)
  before_BFYXC = ENCODE_CONV(conv_params, video_BTYXC)
  assert np.abs(before_BFYXC.std((0, 1, 2, 3)) - 1.0).max() > 0.05
  decode = jax.jit(CONV.decode)
  np.testing.assert_allclose(
    decode(standard, z_BFYXC), decode(conv_params, before_BFYXC), atol=1e-4
  )


def test_a_linear_encoder_keeps_its_scales(params):
  assert CODEC.standardise(params, _moving()) is params


def test_weights_of_either_encoder_come_back(params, conv_params, tmp_path):
  for codec, tree in ((CODEC, params), (CONV, conv_params)):
    path = tmp_path / 'codec.safetensors'
    tensors.save_tree(path, jax.tree.map(np.asarray, tree), {})
    again, loaded = load_codec(codec.cfg, path)
    assert again == codec
    jax.tree.map(np.testing.assert_array_equal, loaded, tree)
  with pytest.raises(UserError, match='correction'):
    load_codec(CFG, tmp_path / 'codec.safetensors')


def test_bfloat16_weights_give_float32_pixels(params):
  stored = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params)
  z_BFYXC = ENCODE(stored, _video(5))
  assert z_BFYXC.dtype == jnp.float32
  assert DECODE(stored, z_BFYXC).dtype == jnp.float32


def test_a_clip_of_the_wrong_length_is_refused(params):
  with pytest.raises(UserError, match='4 frames'):
    ENCODE(params, _video(4))


def test_parameters_stay_few_at_the_default_width():
  cfg = CodecConfig('patch', 4, 8, 16, width=128, blocks=4, **PLAIN)
  codec = make_codec(
    dataclasses.replace(cfg, encoder='conv', head_features=192)
  )
  shapes = jax.eval_shape(codec.init, jax.random.key(0))
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) < 1.5e6
