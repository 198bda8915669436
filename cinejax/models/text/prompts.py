"""Cleaning, tokenizing and caching of prompts for learned text encoders."""

import collections
import html
import importlib.util
import pathlib
import re
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from cinejax.core.errors import UserError
from cinejax.core.notes import note

_CACHED = 256  # prompts; one of Wan takes a megabyte or two


def clean(prompt: str) -> str:
  """Cleans a prompt as Wan's were in training.

  HTML is unescaped and white space is reduced to single spaces. Broken Unicode
  is repaired if ftfy is installed (extra `text`).
  """
  if importlib.util.find_spec('ftfy'):
    import ftfy  # optional

    prompt = ftfy.fix_text(prompt)
  # twice, for pages that quote pages
  prompt = html.unescape(html.unescape(prompt))
  return re.sub(r'\s+', ' ', prompt).strip()


def note_cut(prompt: str, unread: int) -> None:
  """Says, once for a prompt, that its last `unread` tokens are not read."""
  if unread:
    note(
      f'the prompt "{textwrap.shorten(prompt, 60, placeholder=" …")}" is '
      f'longer than the text encoder reads; its last {unread} tokens are cut'
    )


class Tokens:
  """The tokenizer of a folder: prompts -> ids and mask [n, W], int32."""

  def __init__(self, folder: pathlib.Path, words: int):
    """Reads tokenizer.json; `words` is W.

    Raises UserError if the file or the package tokenizers is missing.
    """
    if not importlib.util.find_spec('tokenizers'):
      raise UserError(
        "config.text.name=umt5 needs tokenizers; pip install 'cinejax[text]'"
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
    except Exception as error:  # the library raises no narrower type
      raise UserError(
        f'{path} is no tokenizer ({error}); fetch it again'
      ) from error
    self._tokenizer.enable_truncation(words)
    self._tokenizer.no_padding()
    self._words = words

  def count(self, prompt: str) -> int:
    """The tokens of a prompt, of which the first W are read."""
    encoding = self._tokenizer.encode(clean(prompt))
    return len(encoding.ids) + _unread(encoding)

  def __call__(self, prompts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    ids_nW = np.zeros((len(prompts), self._words), np.int32)  # 0 is padding
    mask_nW = np.zeros_like(ids_nW)
    for ids_W, mask_W, prompt in zip(ids_nW, mask_nW, prompts, strict=True):
      encoding = self._tokenizer.encode(clean(prompt))
      note_cut(clean(prompt), _unread(encoding))
      ids = encoding.ids
      ids_W[: len(ids)], mask_W[: len(ids)] = ids, 1
    return ids_nW, mask_nW


def _unread(encoding: Any) -> int:
  """The tokens that an encoding of the tokenizers package leaves out."""
  masks = (part.special_tokens_mask for part in encoding.overflowing)
  return sum(mask.count(0) for mask in masks)


class CachedText:
  """Encodes prompts and caches the latest ones; see `select.Text`.

  It can be called from several threads, as data pipelines do.
  """

  def __init__(
    self,
    encode_fn: Callable[[str], np.ndarray],
    words: int,
    features: int,
    cached: int = _CACHED,
    count_fn: Callable[[str], int] | None = None,
  ):
    """Makes an encoder from a function of one prompt.

    Args:
      encode_fn: prompt -> tokens [w, D], float, with w <= W.
      words: W.
      features: D.
      cached: greatest number of prompts in the cache.
      count_fn: the number of tokens of a prompt, however many are encoded;
        None: that of its encoding.
    """
    self._encode_fn, self._cached = encode_fn, cached
    self._count_fn = count_fn
    self._shape = (words, features)
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

  def count(self, prompt: str) -> int:
    """The tokens of a prompt, of which the first W are encoded."""
    if self._count_fn is None:
      return len(self._tokens(prompt))
    return self._count_fn(prompt)

  def _tokens(self, prompt: str) -> np.ndarray:
    with self._lock:
      if prompt not in self._seen:
        self._seen[prompt] = self._encode_fn(prompt)
        if len(self._seen) > self._cached:
          self._seen.popitem(last=False)
      self._seen.move_to_end(prompt)
      return self._seen[prompt]
