"""Features of frames, without weights and from local folders.

DINOv2 and CLIP are tiny and random here, saved as Hugging Face saves them;
the arithmetic before and after them is what is tested.
"""

import json

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.evaluation.metrics import consistency, features
from cinejax.film import media
from cinejax.story import casting, render


def _noise(*shape, seed=0):
  return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_features_ignore_brightness_and_flat_frames_have_none():
  frame = _noise(1, 16, 16, 3) // 2
  dark, light = map(features.pixel_features, (frame, frame + 60))
  np.testing.assert_allclose(dark, light, atol=1e-9)
  assert dark.shape == (1, 192)
  flat = np.full((3, 16, 16, 3), 90, np.uint8)
  assert not features.pixel_features(flat).any()


def test_features_are_computed_in_blocks_of_one_size():
  sizes = []

  def image_fn(video_TYXC):
    sizes.append(len(video_TYXC))
    return video_TYXC.reshape(len(video_TYXC), -1)[:, :3]

  video = _noise(37, 4, 4, 3)
  got = features.Features('first', image_fn).of(video)
  np.testing.assert_array_equal(got, video[:, 0, 0])
  assert sizes == [16, 16, 16]


@pytest.mark.parametrize(
  ('spec', 'sentence'),
  [
    ('vgg:.', 'has vgg:.; each must be pixels, taef2:FOLDER'),
    ('dinov2', 'has dinov2; each must be'),
    ('pixels:here', 'has pixels:here; each must be'),
    ('clip:nowhere', 'has clip:nowhere; there is no folder nowhere'),
    ('taef2:.', 'put the two TAEF2 files there'),
  ],
)
def test_features_that_are_not_available_are_refused(
  spec, sentence, tmp_path, monkeypatch
):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=sentence):
    features.make_features(['pixels', spec])


@pytest.mark.parametrize('name', ['clip', 'dinov2'])
def test_missing_packages_and_models_are_named(name, tmp_path):
  try:
    import torch  # noqa: F401
    import transformers  # noqa: F401

    sentence = f'{tmp_path} holds no '
  except ModuleNotFoundError:
    sentence = r"pip install 'cinejax\[torch\]'"
  with pytest.raises(UserError, match=sentence):
    features.make_features([f'{name}:{tmp_path}'])


def test_taef2_distinguishes_shots(shared_data):
  [taef2] = features.make_features([f'taef2:{shared_data / "weights"}'])
  film = casting.cast('eval', 3, 1)
  video, cuts = render.render(film)[:45], []
  seen = taef2.of(video[::3])
  starts = np.cumsum([9, *[12] * 3]) // 3
  shots = film.chunk_segments()[:4]
  cuts = [
    s for s, a, b in zip(starts, shots, shots[1:], strict=False) if a != b
  ]
  within = consistency.intra_shot(seen, cuts)
  across = consistency.inter_shot(seen, cuts)
  assert seen.shape == (15, 2 * 4 * 32)
  assert within > 0.9 and across < within - 0.1


@pytest.mark.slow
def test_taef2_distinguishes_shots_of_a_real_film(shared_data):
  """Higher within than across, about 0.39 and -0.10 when centred."""
  [taef2] = features.make_features([f'taef2:{shared_data / "weights"}'])
  name = 'sintel_rooftop_7shots_848x480_25fps.mp4'
  cuts = (76, 121, 319, 457, 545, 611)
  frames = [start + extra for start in (0, *cuts) for extra in (8, 20, 32)]
  path = shared_data / 'videos' / name
  found = media.read_frames(path, crop=(58, 420, 0, 848), size=(96, 224))
  video = np.stack(list(found))[frames]
  seen = taef2.of(video)
  within = consistency.intra_shot(seen, range(3, 21, 3))
  across = consistency.inter_shot(seen, range(3, 21, 3))
  assert within > across + 0.2


@pytest.fixture
def dinov2(tmp_path):
  pytest.importorskip('torch', reason="the extra 'torch'")
  transformers = pytest.importorskip('transformers')
  config = transformers.Dinov2Config(
    hidden_size=16,
    num_hidden_layers=1,
    num_attention_heads=2,
    image_size=224,
    patch_size=14,
  )
  transformers.Dinov2Model(config).save_pretrained(tmp_path / 'dinov2')
  return tmp_path / 'dinov2'


def test_dinov2_sees_the_whole_frame(dinov2):
  [feature] = features.make_features([f'dinov2:{dinov2}'])
  wide = _noise(2, 240, 416, 3)
  seen = feature.of(wide)
  assert seen.shape == (2, 16) and feature.text_fn is None
  changed = wide.copy()
  changed[1, :, :40] = 0  # at an edge, outside the middle square
  again = feature.of(changed)
  np.testing.assert_allclose(again[0], seen[0], atol=1e-5)
  assert np.abs(again[1] - seen[1]).max() > 1e-3


@pytest.fixture
def clip(tmp_path):
  pytest.importorskip('torch', reason="the extra 'torch'")
  transformers = pytest.importorskip('transformers')
  text = {
    'vocab_size': 64,
    'hidden_size': 16,
    'intermediate_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'max_position_embeddings': 12,
    'eos_token_id': 1,
    'bos_token_id': 0,
    'pad_token_id': 1,
  }
  vision = {
    'hidden_size': 16,
    'intermediate_size': 16,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'image_size': 224,
    'patch_size': 32,
  }
  config = transformers.CLIPConfig(
    text_config=text, vision_config=vision, projection_dim=8
  )
  folder = tmp_path / 'clip'
  transformers.CLIPModel(config).save_pretrained(folder)
  letters = 'abcdefghijklmnopqrstuvwxyz'
  words = ['<|startoftext|>', '<|endoftext|>', *letters]
  words += [f'{letter}</w>' for letter in letters]
  vocab = {word: index for index, word in enumerate(words)}
  (folder / 'vocab.json').write_text(json.dumps(vocab))
  (folder / 'merges.txt').write_text('#version: 0.2\n')
  tokenizer = {'tokenizer_class': 'CLIPTokenizer'}
  (folder / 'tokenizer_config.json').write_text(json.dumps(tokenizer))
  return folder


def test_clip_compares_frames_and_prompts(clip):
  [feature] = features.make_features([f'clip:{clip}'])
  wide = _noise(2, 60, 100, 3)
  seen = feature.of(wide)
  changed = wide.copy()
  changed[:, :, :15] = 0  # outside the middle square
  np.testing.assert_allclose(feature.of(changed), seen, atol=1e-5)
  assert np.abs(feature.of(_noise(2, 60, 100, 3, seed=1)) - seen).max() > 1e-4
  read = feature.text_fn(['a cat', 'a dog', 'a ' * 40])
  assert seen.shape == (2, 8) and read.shape == (3, 8)
  assert np.abs(read[0] - read[1]).max() > 1e-3
  short = feature.text_fn(['a cat'])  # padding says nothing
  np.testing.assert_allclose(short[0], read[0], atol=1e-5)
