import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models.text import actions
from cinejax.models.text.hashed import HashedText

NAMES = ('left', 'right', 'jump', 'camera')


@pytest.fixture
def text():
  return actions.SteeredText(HashedText(6, 8), NAMES, 3)


def rows(text, prompt):
  return text.encode([prompt])[0, 6:, : len(NAMES)].tolist()


def test_what_is_written_is_read():
  listed = [['left'], [], ['left', 'jump']]
  prompt = actions.write('Ada is in the forest', listed)
  assert prompt == 'Ada is in the forest [left||left jump]'
  assert actions.read(prompt) == ('Ada is in the forest', listed)
  assert actions.read('Ada runs') == ('Ada runs', [])


def test_a_row_a_frame_beside_the_same_words(text):
  bare, steered = text.encode(['Ada runs', 'Ada runs [left||left jump]'])
  np.testing.assert_array_equal(
    bare[:6], HashedText(6, 8).encode(['Ada runs'])[0]
  )
  np.testing.assert_array_equal(bare[:6], steered[:6])
  assert not bare[6:].any() and not steered[6:, len(NAMES) :].any()
  assert steered[6:, : len(NAMES)].tolist() == [
    [1, 0, 0, 0],
    [0, 0, 0, 0],
    [1, 0, 1, 0],
  ]


def test_the_last_entry_holds(text):
  assert rows(text, 'x [right]') == [[0, 1, 0, 0]] * 3
  assert rows(text, 'x [right|]') == [[0, 1, 0, 0], [0] * 4, [0] * 4]


def test_one_sentence_for_what_it_cannot_do(text):
  with pytest.raises(UserError, match=r'action jmp; this model takes .*jump'):
    text.encode(['x [jmp]'])
  with pytest.raises(UserError, match='4 latent frames; a chunk has 3'):
    text.encode(['x [left|left|left|left]'])
