"""A film by Wan's whole path, from a folder like Wan's, small and random."""

import json

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from cinejax import direct
from cinejax.config import resolve
from cinejax.interop.archive import open_archive
from cinejax.interop.tensors import save_tree
from cinejax.models import denoiser
from configs import wan_1_3b


def make_cfg():
  config = wan_1_3b.get_config()
  config.film.height, config.film.width = 16, 32
  config.codec.channels, config.codec.width, config.codec.blocks = 4, 4, 1
  config.codec.compute_dtype = config.dit.compute_dtype = 'float32'
  config.text.words, config.text.features = 12, 32
  config.dit.layers, config.dit.heads = 1, 2
  config.dit.head_features, config.dit.mlp_features = 16, 32
  config.memory.bank_frames = 20
  config.rollout.steps = 3
  return resolve(config)


@pytest.fixture
def folder(fixtures, tmp_path):
  tokenizers = pytest.importorskip('tokenizers')

  def save(name, fixture):
    tensors = open_archive(fixtures / fixture).tensors
    weights = {k[2:]: x[:] for k, x in tensors.items() if k.startswith('w.')}
    save_file(weights, tmp_path / name)

  save('Wan2.1_VAE.safetensors', 'fixture_wan_vae.safetensors')
  save('models_t5_umt5-xxl-enc-bf16.safetensors', 'fixture_umt5.safetensors')
  words = {'</s>': 1, '<unk>': 2, 'ada': 3, 'walks': 4}
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  (tmp_path / 'google' / 'umt5-xxl').mkdir(parents=True)
  tokenizer.save(str(tmp_path / 'google' / 'umt5-xxl' / 'tokenizer.json'))
  params = denoiser.init_params(make_cfg().dit, jax.random.key(0))
  save_tree(tmp_path / 'base.safetensors', params, {})
  return tmp_path


@pytest.mark.slow
def test_a_film_from_an_image(folder, tmp_path, monkeypatch, give_flags):
  play = tmp_path / 'play.json'
  segments = [{'prompt': prompt, 'chunks': 1} for prompt in ('ada', 'walks')]
  play.write_text(json.dumps({'title': 'Two', 'segments': segments}))
  picture_YXC = np.full((40, 80, 3), 90, np.uint8)
  Image.fromarray(picture_YXC).save(tmp_path / 'a.png')
  give_flags(
    direct,
    weights=str(folder),
    screenplay=str(play),
    out=str(tmp_path / 'out'),
    image=str(tmp_path / 'a.png'),
  )
  monkeypatch.setattr(direct.command, 'config', make_cfg)
  direct.main()
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert (report['frames'], report['shots'], report['steps']) == (21, 2, 3)
