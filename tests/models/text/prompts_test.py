import numpy as np
import pytest

from cinejax.core.errors import UserError
from cinejax.models.text.prompts import CachedText, Tokens, clean


def test_prompts_are_cleaned():
  assert clean('  a\n  b\u3000c ') == 'a b c'
  assert clean('rock &amp;amp; roll &lt;3') == 'rock & roll <3'


def test_broken_letters_are_repaired():
  pytest.importorskip('ftfy')
  assert clean('schÃ¶n') == 'schön'


@pytest.fixture
def folder(tmp_path):
  """A tokenizer of whole words that ends a prompt with </s>, id 1."""
  pytest.importorskip('tokenizers')
  from tokenizers import Tokenizer, models, pre_tokenizers, processors

  words = ['<pad>', '</s>', '<unk>', 'ada', 'walks', 'left']
  tokenizer = Tokenizer(
    models.WordLevel({word: i for i, word in enumerate(words)}, '<unk>')
  )
  tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
  tokenizer.post_processor = processors.TemplateProcessing(
    single='$A </s>', special_tokens=[('</s>', 1)]
  )
  tokenizer.save(str(tmp_path / 'tokenizer.json'))
  return tmp_path


def test_prompts_become_padded_tokens_that_end(folder):
  ids, mask = Tokens(folder, 4)(['ada  walks', 'ada walks left ada walks', ''])
  np.testing.assert_array_equal(ids, [[3, 4, 1, 0], [3, 4, 5, 1], [1, 0, 0, 0]])
  np.testing.assert_array_equal(mask, ids != 0)


def test_what_is_cut_of_a_prompt_is_reported_once(folder, capsys):
  tokens = Tokens(folder, 4)
  for _ in range(2):
    tokens(['ada walks left', 'walks walks left ada ada'])
  note = capsys.readouterr().err
  assert note.count('note: ') == 1 and 'its last 2 tokens are cut' in note


def test_a_missing_tokenizer_is_named(tmp_path):
  pytest.importorskip('tokenizers')
  with pytest.raises(UserError, match=r'tokenizer\.json'):
    Tokens(tmp_path, 4)


def test_a_prompt_is_encoded_once_while_it_is_kept():
  asked = []

  def encode(prompt):
    asked.append(prompt)
    return np.full((len(prompt), 2), float(len(asked)))

  text = CachedText(encode, words=3, features=2, cached=2)
  out = text.encode(['ab', 'c', 'ab'])
  assert asked == ['ab', 'c'] and out.dtype == np.float32
  np.testing.assert_array_equal(out[:, :, 0], [[1, 1, 0], [2, 0, 0], [1, 1, 0]])
  text.encode(['d'])  # 'c' was seen longest ago
  text.encode(['ab'])
  assert asked == ['ab', 'c', 'd']
  text.encode(['c'])
  assert asked == ['ab', 'c', 'd', 'c']
