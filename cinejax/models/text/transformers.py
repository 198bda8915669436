"""Any text encoder of Hugging Face's transformers, from a folder.

It is for other encoders than UMT5, and for comparisons; it needs PyTorch. The
tokenizer is in FOLDER or FOLDER/tokenizer, the encoder in FOLDER or
FOLDER/text_encoder. Nothing is downloaded.
"""

import importlib.util
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from cinejax.core.errors import UserError
from cinejax.models.text.prompts import clean, note_cut


def make_encode_fn(
  folder: str | os.PathLike, words: int
) -> Callable[[str], np.ndarray]:
  """Makes encode_fn(prompt) -> float32 [w, D], with a row for each token.

  w is at most `words`.

  Raises UserError if the packages or the files are missing.
  """
  for package in ('torch', 'transformers'):
    if not importlib.util.find_spec(package):
      raise UserError(
        f'config.text.name=transformers needs {package}; pip install '
        "'cinejax[torch]'"
      )
  import torch  # optional, as is transformers
  import transformers

  try:
    tokenizer = _tokenizer(folder)
    model = transformers.AutoModelForTextEncoding.from_pretrained(
      _inner(folder, 'text_encoder'), local_files_only=True
    ).eval()
  except (OSError, ValueError) as error:
    raise UserError(
      f'{folder} holds no text encoder of transformers ({error}); '
      'config.text.folder must name a folder that has one'
    ) from error

  def encode_fn(prompt: str) -> np.ndarray:
    whole = tokenizer(clean(prompt), verbose=False).input_ids
    note_cut(prompt, max(0, len(whole) - words))
    tokens = tokenizer(
      clean(prompt), truncation=True, max_length=words, return_tensors='pt'
    )
    with torch.no_grad():
      hidden = model(**tokens).last_hidden_state
    return hidden[0].float().numpy()

  return encode_fn


def make_count_fn(folder: str | os.PathLike) -> Callable[[str], int]:
  """Makes count_fn(prompt) -> the number of its tokens; see make_encode_fn."""
  tokenizer = _tokenizer(folder)
  return lambda prompt: len(tokenizer(clean(prompt), verbose=False).input_ids)


def _tokenizer(folder: str | os.PathLike) -> Any:
  import transformers  # optional

  return transformers.AutoTokenizer.from_pretrained(
    _inner(folder, 'tokenizer'), local_files_only=True
  )


def _inner(folder: str | os.PathLike, name: str) -> pathlib.Path:
  inner = pathlib.Path(folder) / name
  return inner if inner.is_dir() else pathlib.Path(folder)
