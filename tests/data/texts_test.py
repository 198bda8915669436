"""The table of encoded prompts: what is written is read back, and mistakes."""

import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.data import tables, texts


@pytest.fixture
def table(tmp_path):
  """One token for `a`, three for `b`, in two files; 2 features."""
  texts.folder(tmp_path).mkdir()
  for prompt, tokens in (('a', 1), ('b', 3)):
    rows_wD = np.full((tokens, 2), tokens, np.float32)
    file = texts.folder(tmp_path) / f'{prompt}.safetensors'
    tables.write(file, {prompt: rows_wD})
  return tmp_path


def test_captions_are_padded_or_cut_to_the_words_of_the_model(table):
  text_nWD = texts.TextTable(table, 2, 2).encode(['b', 'a', 'b'])
  assert text_nWD.dtype == np.float32
  assert text_nWD[..., 0].tolist() == [[3, 3], [1, 0], [3, 3]]


def test_files_are_one_table(table, tmp_path):
  read = texts.TextTable(table, 2, 2)
  assert len(read) == 2 and 'a' in read and 'c' not in read
  assert texts.has_table(table) and not texts.has_table(tmp_path / 'other')


def test_mistakes_are_named(table):
  with pytest.raises(UserError, match="lacks the prompt 'c'"):
    texts.TextTable(table, 2, 2).encode(['c'])
  with pytest.raises(
    UserError, match=r'2 features; config\.text\.features is 4'
  ):
    texts.TextTable(table, 2, 4).encode(['a'])
  (texts.folder(table) / 'z.safetensors').write_bytes(b'no')
  with pytest.raises(UserError, match=r'z\.safetensors is not a whole'):
    texts.TextTable(table, 2, 2)
