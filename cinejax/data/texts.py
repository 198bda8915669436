"""Captions that were encoded before training: a table beside the films.

  FILMS/text/*.safetensors    prompt -> float16 [w, D], one row a token

A text encoder may be larger than what is trained. Each prompt is in the table
once, however many shots and films say it, and without its padding. Files
appear whole or not at all and are never changed, so that several writers can
work at once and a stopped one goes on; data_prep/texts.py is one.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path


class StoredText:
  """Looks prompts up; the same interface as an encoder."""

  def __init__(self, films: str | os.PathLike, words: int, features: int):
    """Opens the table of the data set `films`; UserError if one is broken."""
    self._path, self._shape = folder(films), (words, features)
    self._place = {
      prompt: file for file in _open(self._path) for prompt in file.keys()
    }

  def __contains__(self, prompt: str) -> bool:
    return prompt in self._place

  def __len__(self) -> int:
    return len(self._place)

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W, D]; UserError if one was never encoded."""
    text_nWD = np.zeros((len(prompts), *self._shape), np.float32)
    for text_WD, prompt in zip(text_nWD, prompts, strict=True):
      if prompt not in self._place:
        raise UserError(
          f'{self._path} lacks the prompt {prompt!r}; run python -m '
          'data_prep.texts again'
        )
      tokens_wD = self._place[prompt].get_tensor(prompt)
      if tokens_wD.shape[1] != self._shape[1]:
        raise UserError(
          f'{self._path} holds captions of {tokens_wD.shape[1]} features; '
          f'config.text.features is {self._shape[1]}'
        )
      kept_wD = tokens_wD[: self._shape[0]]
      text_WD[: len(kept_wD)] = kept_wD
    return text_nWD


def folder(films: str | os.PathLike) -> pathlib.Path:
  """Where the table of the data set `films` is."""
  return pathlib.Path(films) / 'text'


def is_stored(films: str | os.PathLike) -> bool:
  return any(folder(films).glob('*.safetensors'))


def write(path: pathlib.Path, text: Mapping[str, np.ndarray]) -> None:
  """A file of the table: prompt -> float [w, D], without padding."""
  stored = {
    prompt: np.ascontiguousarray(tokens_wD, np.float16)
    for prompt, tokens_wD in text.items()
  }
  with atomic_path(path) as partial:
    save_file(stored, partial)


def _open(path: pathlib.Path) -> list[safe_open]:
  files = []
  for file in sorted(path.glob('*.safetensors')):
    try:
      files.append(safe_open(file, 'np'))
    except (SafetensorError, OSError) as error:
      raise UserError(
        f'{file} is not a whole safetensors file ({error}); delete it, and run '
        'python -m data_prep.texts again'
      ) from error
  return files
