import pytest

from cinejax.core.errors import UserError
from cinejax.models.config import TextConfig
from cinejax.models.text.select import make_text


def test_the_named_encoder_has_the_asked_shape():
  text = make_text(TextConfig('hashed', words=5, features=8, folder=''))
  assert text.encode(['a b', 'c']).shape == (2, 5, 8)


def test_mistakes_are_named():
  with pytest.raises(UserError, match='hashed, umt5, transformers'):
    make_text(TextConfig('clip', 5, 8, ''))
  with pytest.raises(UserError, match='even'):
    make_text(TextConfig('hashed', 5, 7, ''))
