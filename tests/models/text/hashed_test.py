import numpy as np

from cinejax.models.text import hashed


def _encode(*prompts, words=16, features=64):
  return hashed.HashedText(words, features).encode(prompts)


def test_words_have_unit_variance_and_are_almost_orthogonal():
  codes = np.stack([hashed._code(f'word{i}', 256) for i in range(400)])
  assert abs(codes.mean()) < 0.01 and abs(codes.var() - 1) < 0.02
  cosine = codes @ codes.T / 256
  assert np.abs(cosine[~np.eye(400, dtype=bool)]).max() < 0.4


def test_codes_never_change():
  # shipped weights were trained on these numbers
  np.testing.assert_allclose(
    hashed._code('ada', 4),
    [-0.07638032, 0.1535465, 0.38602805, -0.89304912],
    atol=1e-6,
  )


def test_case_and_punctuation_do_not_matter():
  a, b = _encode(
    'Cut to: Ada runs LEFT, wide shot.', 'cut to ada runs left wide shot'
  )
  np.testing.assert_array_equal(a, b)
  assert hashed.tokenise("Don't stop—it's 9 a.m.") == [
    "don't",
    'stop',
    "it's",
    '9',
    'a',
    'm',
  ]


def test_composed_and_decomposed_letters_are_one_word():
  a, b = _encode('caf\u00e9', 'cafe\u0301')
  np.testing.assert_array_equal(a, b)


def test_order_matters_and_prefixes_agree():
  a, b, c = _encode('ada meets bo', 'bo meets ada', 'ada meets bo again')
  # attention sees a set of tokens: the place must be in the token itself
  assert np.abs(a[0] - b[2]).max() > 0.5
  np.testing.assert_array_equal(a[:3], c[:3])


def test_padding_is_zero_and_long_prompts_are_cut():
  empty, short, long = _encode('', 'one two', 'one two three four', words=3)
  assert not empty.any()
  assert short[:2].any(axis=1).all() and not short[2].any()
  np.testing.assert_array_equal(long[:2], short[:2])
  assert long.shape == (3, 64) and long.dtype == np.float32


def test_what_is_cut_of_a_prompt_is_reported_once(capsys):
  text = hashed.HashedText(3, 4)
  for _ in range(2):
    text.encode(['one two three', 'one two three four five'])
  note = capsys.readouterr().err
  assert note.count('note: ') == 1 and 'its last 2 tokens are cut' in note
