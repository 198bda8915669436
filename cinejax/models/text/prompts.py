"""Prompts as an encoder of Wan's reads them: cleaned, in tokens, once each."""

import collections
import html
import importlib.util
import pathlib
import re
import threading
from collections.abc import Callable, Sequence

import numpy as np

from cinejax.core.errors import UserError

_KEPT = 256  # prompts; of a Wan caption a megabyte or two


def clean(prompt: str) -> str:
  """Repaired, unescaped and in single spaces, as Wan's were in training.

  Broken Unicode is repaired where ftfy is installed (extra `text`).
  """
  if importlib.util.find_spec('ftfy'):
    import ftfy  # optional

    prompt = ftfy.fix_text(prompt)
  # twice: pages that are quoted in pages
  prompt = html.unescape(html.unescape(prompt))
  return re.sub(r'\s+', ' ', prompt).strip()


class Tokens:
  """The tokenizer of a folder: prompts to ids and masks [n, W], int32."""

  def __init__(self, folder: pathlib.Path, words: int):
    """Reads tokenizer.json, which raises UserError where it is not."""
    if not importlib.util.find_spec('tokenizers'):
      raise UserError(
        "config.text.name needs tokenizers; pip install 'cinejax[text]'"
      )
    from tokenizers import Tokenizer  # optional

    path = folder / 'tokenizer.json'
    if not path.is_file():
      raise UserError(
        f'there is no tokenizer {path}; it comes with the encoder, as '
        'google/umt5-xxl/ in Wan-AI/Wan2.1-T2V-1.3B or as tokenizer/ in a '
        'pipeline of diffusers'
      )
    try:
      self._tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises nothing narrower
      raise UserError(
        f'{path} is no tokenizer ({error}); fetch it again'
      ) from error
    self._tokenizer.enable_truncation(words)
    self._tokenizer.no_padding()
    self._words = words

  def __call__(self, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    ids_nW = np.zeros((len(prompts), self._words), np.int32)  # 0 is padding
    mask_nW = np.zeros_like(ids_nW)
    for ids_W, mask_W, prompt in zip(ids_nW, mask_nW, prompts, strict=True):
      ids = self._tokenizer.encode(clean(prompt)).ids
      ids_W[: len(ids)], mask_W[: len(ids)] = ids, 1
    return ids_nW, mask_nW


class CachedText:
  """Encodes a prompt that it has not seen lately; see `select.Text`.

  Safe from several threads, as data pipelines call it.
  """

  def __init__(
    self,
    encode_fn: Callable[[str], np.ndarray],
    words: int,
    features: int,
    kept: int = _KEPT,
  ):
    """`encode_fn` gives the tokens of a prompt, float [w, D], w <= words."""
    self._encode_fn, self._shape, self._kept = (
      encode_fn,
      (words, features),
      kept,
    )
    self._seen: collections.OrderedDict[str, np.ndarray] = (
      collections.OrderedDict()
    )
    self._lock = threading.Lock()

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    text_nWD = np.zeros((len(prompts), *self._shape), np.float32)
    for text_WD, prompt in zip(text_nWD, prompts, strict=True):
      tokens_wD = self._tokens(prompt)
      text_WD[: len(tokens_wD)] = tokens_wD
    return text_nWD

  def _tokens(self, prompt: str) -> np.ndarray:
    with self._lock:
      if prompt not in self._seen:
        self._seen[prompt] = self._encode_fn(prompt)
        if len(self._seen) > self._kept:
          self._seen.popitem(last=False)
      self._seen.move_to_end(prompt)
      return self._seen[prompt]
