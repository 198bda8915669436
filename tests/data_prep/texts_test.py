"""Prompts are encoded once each, also over reruns, and read back."""

import numpy as np

from cinejax.data import texts
from cinejax.data.sources import LatentFilm, LatentFilms
from cinejax.models.text.hashed import HashedText
from data_prep import films
from data_prep.texts import encode

PROMPTS = ('ada walks', 'cut to: bo runs', '')


class Counted:
  """An encoder that records its prompts."""

  def __init__(self):
    self.asked = []
    self._text = HashedText(8, 16)

  def encode(self, prompts):
    self.asked += prompts
    return self._text.encode(prompts)


def test_a_prompt_is_encoded_once_and_read_back(tmp_path):
  text = Counted()
  assert not texts.has_table(tmp_path)
  assert list(encode(tmp_path, PROMPTS, text, 'one')) == [3]
  more = [*PROMPTS, 'new']
  assert list(encode(tmp_path, more, text, 'one')) == [1]
  assert list(encode(tmp_path, more, text, 'two')) == []
  assert text.asked == more and texts.has_table(tmp_path)
  stored = texts.TextTable(tmp_path, 8, 16)
  assert len(stored) == 4 and 'new' in stored
  np.testing.assert_allclose(
    stored.encode(more), HashedText(8, 16).encode(more), atol=2e-3
  )
  short = texts.TextTable(tmp_path, 1, 16).encode(['ada walks'])
  assert short.shape == (1, 1, 16) and short.dtype == np.float32


def test_many_prompts_are_many_files(tmp_path, monkeypatch):
  monkeypatch.setattr('data_prep.texts._FILE', 2)
  assert list(encode(tmp_path, PROMPTS, Counted(), 'one')) == [2, 1]
  names = sorted(path.name for path in texts.folder(tmp_path).iterdir())
  assert names == ['one-00000.safetensors', 'one-00001.safetensors']


def test_films_list_their_prompts(tmp_path):
  def make(part):
    for n in range(2):
      yield LatentFilm(
        latents=np.zeros((3, 2, 2, 1), np.float16),
        prompts=(f'{part} {n}',) * 3,
        cuts=np.zeros(3, bool),
        shots=np.zeros(3, np.int32),
        film=10 * part + n,
      )

  for part in range(2):
    films.write_films(tmp_path, f'part-{part}', (2, 2, 1), make, [part])
  source = LatentFilms(tmp_path)
  assert source.prompts() == {'0 0', '0 1', '1 0', '1 1'}
  assert source[0].latents.shape == (3, 2, 2, 1)
