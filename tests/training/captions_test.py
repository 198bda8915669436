"""Training reads captions that were encoded beforehand, if there are any."""

import dataclasses

import numpy as np
import pytest

from cinejax.config import resolve
from cinejax.core.errors import UserError
from cinejax.data import tables, texts
from cinejax.models.text.hashed import HashedText
from cinejax.training.films import captions
from configs import tiny


@pytest.fixture
def cfg(tmp_path):
  config = tiny.get_config()
  config.text.name = 'umt5'
  config.data.films = str(tmp_path)
  return resolve(config)


def test_stored_captions_need_no_encoder(cfg, tmp_path):
  with pytest.raises(UserError, match=r'config\.text\.folder is empty'):
    captions(cfg)
  tokens = np.ones((2, cfg.text.features))
  tables.write(texts.folder(tmp_path) / 'a.safetensors', {'ada': tokens})
  out = captions(cfg).encode(['ada'])
  assert out.shape == (1, cfg.text.words, cfg.text.features)
  assert out.sum() == tokens.sum()


def test_hashed_captions_are_not_read_from_files(cfg, tmp_path):
  tables.write(texts.folder(tmp_path) / 'a.safetensors', {})
  text = dataclasses.replace(cfg.text, name='hashed')
  assert isinstance(captions(dataclasses.replace(cfg, text=text)), HashedText)
