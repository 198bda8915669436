"""Word embeddings by hashing, which need no weights and cover all words.

    code(word)_i  = sqrt(-2 ln u_i) cos(2 pi v_i),                          (1)
    token_w       = (code(word_w) + sqrt(2) wave_w) / sqrt(2)               (2)
    wave_w        = [sin(w f_j), cos(w f_j)],  f_j = 100^(-2 j / D)         (3)

(1) is the Box-Muller transform of uniforms u, v from a Philox counter keyed
with blake2b(word). It has unit variance and is the same on all machines and in
all versions of numpy: raw Philox bits are guaranteed not to change, unlike
`standard_normal`. The codes of two words are almost orthogonal. (3) encodes the
order, with periods from 6 to 600 words; sine and cosine have variance 1/2, so
that a token has unit variance. Prompts are padded with zeros, or cut, to W
words. An empty prompt is all zeros, which makes it the natural negative prompt.
"""

import functools
import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np

from cinejax.core.errors import UserError
from cinejax.models.text.prompts import note_cut

WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_PERIOD_RATIO = 100.0  # longest to shortest period of eq. (3)


class HashedText:
  """Embeds prompts word by word, eqs. (1) to (3)."""

  def __init__(self, words: int, features: int):
    """`words` is W and `features` is D, an even number.

    Raises UserError if D is odd.
    """
    if features % 2:
      raise UserError(f'config.text.features is {features}; it must be even')
    self._words = words
    self._features = features

  def count(self, prompt: str) -> int:
    """The words of a prompt, of which the first W are encoded."""
    return len(tokenise(prompt))

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W, D], zeros after the last word."""
    text_nWD = np.zeros((len(prompts), self._words, self._features), np.float32)
    order_WD = _waves(self._words, self._features)
    for text_WD, prompt in zip(text_nWD, prompts, strict=True):
      words = tokenise(prompt)
      note_cut(prompt, max(0, len(words) - self._words))
      for w, word in enumerate(words[: self._words]):
        code_D = _code(word, self._features)
        text_WD[w] = np.sqrt(0.5) * code_D + order_WD[w]
    return text_nWD


def tokenise(prompt: str) -> list[str]:
  """Splits a prompt into words: lower case, no punctuation, NFKC form."""
  return WORD.findall(unicodedata.normalize('NFKC', prompt).lower())


@functools.lru_cache(maxsize=65_536)
def _code(word: str, features: int) -> np.ndarray:
  """Eq. (1): float32 [D]."""
  digest = hashlib.blake2b(word.encode(), digest_size=16).digest()
  bits = np.random.Philox(key=int.from_bytes(digest, 'little'))
  # 53 bits, centred in their interval so that u is not 0
  u_D, v_D = (
    ((bits.random_raw(features) >> np.uint64(11)) + 0.5) * 2.0**-53
    for _ in range(2)
  )
  code_D = np.sqrt(-2.0 * np.log(u_D)) * np.cos(2.0 * np.pi * v_D)
  code_D = code_D.astype(np.float32)
  code_D.setflags(write=False)  # shared by every caller
  return code_D


@functools.lru_cache(maxsize=8)
def _waves(words: int, features: int) -> np.ndarray:
  """Eq. (3): float32 [W, D]."""
  half = features // 2
  frequency_D = _PERIOD_RATIO ** (-np.arange(half) / half)
  angle_WD = np.arange(words)[:, None] * frequency_D[None]
  waves_WD = np.concatenate([np.sin(angle_WD), np.cos(angle_WD)], axis=1)
  return waves_WD.astype(np.float32)
