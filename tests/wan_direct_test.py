"""The whole command for someone who has the weights, at a small size.

Networks are random, files are laid out and named as Wan and Self Forcing
publish theirs.
"""

import json
import pathlib
import subprocess
import sys

import jax
import pytest
from safetensors.numpy import save_file

from cinejax.film import media
from cinejax.interop import sizes, views
from cinejax.interop.archive import Archive, open_archive
from cinejax.interop.mapped import read
from cinejax.interop.pickling import write_torch
from cinejax.interop.tensors import save_tree
from cinejax.models.codec.select import make_codec
from configs import wan_1_3b

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMALL = {
  'dit.layers': 2,
  'dit.heads': 2,
  'dit.head_features': 24,
  'dit.mlp_features': 64,
  'dit.time_features': 32,
  'dit.compute_dtype': 'float32',
  'text.words': 12,
  'text.features': 32,
  'codec.width': 8,
  'codec.blocks': 1,
  'film.height': 32,
  'film.width': 48,
  'memory.bank_frames': 17,
}
PLAY = {
  'segments': [
    {'prompt': 'ada walks', 'chunks': 1},
    {'prompt': 'ada runs', 'chunks': 1},
  ]
}


def _weights(path):
  tensors = open_archive(path).tensors
  return {k[2:]: read(x) for k, x in tensors.items() if k.startswith('w.')}


@pytest.fixture(scope='module')
def folder(fixtures, tmp_path_factory):
  """A student's checkpoint, a codec, a text encoder, a tokenizer."""
  tokenizers = pytest.importorskip('tokenizers')
  folder = tmp_path_factory.mktemp('wan')
  dit = _weights(fixtures / 'fixture_wan_dit_tiny.safetensors')
  cfg = sizes.read_sizes(Archive(folder, dit, {}), 'diffusers')
  leaves = views.to_leaves(dit, 'diffusers', sizes.leaf_shapes(cfg))
  wan = views.from_leaves(leaves, 'wan')
  save_file(
    {name: read(x) for name, x in wan.items()},
    folder / 'diffusion_pytorch_model.safetensors',
  )
  student = {f'model.{name}': x for name, x in wan.items()}
  write_torch(folder / 'self_forcing_dmd.pt', ('generator_ema',), student)
  config = wan_1_3b.get_config()
  config.update_from_flattened_dict(SMALL)
  codec = make_codec(config.codec)
  save_tree(
    folder / 'codec.safetensors',
    jax.jit(codec.init)(jax.random.key(0)),
    {},
  )
  (folder / 'text_encoder').mkdir()
  text = _weights(fixtures / 'fixture_umt5.safetensors')
  save_file(text, folder / 'text_encoder' / 'model.safetensors')
  words = {'</s>': 1, '<unk>': 2, 'ada': 3, 'walks': 4, 'runs': 5}
  tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, '<unk>'))
  tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  (folder / 'google' / 'umt5-xxl').mkdir(parents=True)
  tokenizer.save(str(folder / 'google' / 'umt5-xxl' / 'tokenizer.json'))
  return folder


@pytest.mark.slow
@pytest.mark.parametrize('variant', ['', ':four'])
def test_a_film_from_a_folder_of_wan(folder, tmp_path, variant):
  """The base with a negative prompt, and Self Forcing's student without."""
  weights = folder / 'self_forcing_dmd.pt' if variant else folder
  play = tmp_path / 'film.json'
  play.write_text(json.dumps(PLAY))
  line = [sys.executable, '-m', 'cinejax.direct', f'--weights={weights}']
  line += [f'--config=configs/wan_1_3b.py{variant}', '--platform=cpu']
  line += [f'--screenplay={play}', f'--out={tmp_path / "out"}']
  line += [f'--config.{key}={value}' for key, value in SMALL.items()]
  line += [] if variant else ['--config.rollout.steps=2']
  done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
  report = json.loads((tmp_path / 'out' / 'report.json').read_text())
  assert report['shots'] == 2 and report['fps'] == 16
  assert report['frames'] == 21
  assert media.probe(tmp_path / 'out' / 'film.mp4').frames == 21
