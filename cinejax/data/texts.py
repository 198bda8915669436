"""Captions that were encoded before training: a table beside the films.

  FILMS/text/*.safetensors    prompt -> float16 [w, D], one row for each token

A text encoder can be larger than the network that is trained, so it runs once
beforehand (data_prep/texts.py). The table holds each prompt once, without
padding, however many shots and films share it. Files are written atomically and
never changed, so that several writers can work at once and an interrupted one
can continue.
"""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path


class TextTable:
  """Looks up encoded prompts; it has the interface of a text encoder."""

  def __init__(self, films: str | os.PathLike, words: int, features: int):
    """Opens the table of a data set.

    Args:
      films: folder of the data set.
      words: W; longer captions lose their end.
      features: D.

    Raises:
      UserError: if a file of the table is broken.
    """
    self._path, self._shape = folder(films), (words, features)
    self._file_of = {
      prompt: file for file in _open(self._path) for prompt in file.keys()
    }

  def __contains__(self, prompt: str) -> bool:
    return prompt in self._file_of

  def __len__(self) -> int:
    return len(self._file_of)

  def encode(self, prompts: Sequence[str]) -> np.ndarray:
    """n prompts -> float32 [n, W, D], padded with zeros.

    Raises:
      UserError: if the table lacks a prompt, or has other features.
    """
    text_nWD = np.zeros((len(prompts), *self._shape), np.float32)
    for text_WD, prompt in zip(text_nWD, prompts, strict=True):
      if prompt not in self._file_of:
        raise UserError(
          f'{self._path} lacks the prompt {prompt!r}; run python -m '
          'data_prep.texts again'
        )
      tokens_wD = self._file_of[prompt].get_tensor(prompt)
      if tokens_wD.shape[1] != self._shape[1]:
        raise UserError(
          f'{self._path} holds captions of {tokens_wD.shape[1]} features; '
          f'config.text.features is {self._shape[1]}'
        )
      tokens_wD = tokens_wD[: self._shape[0]]
      text_WD[: len(tokens_wD)] = tokens_wD
    return text_nWD


def folder(films: str | os.PathLike) -> pathlib.Path:
  """The folder of the table of the data set `films`."""
  return pathlib.Path(films) / 'text'


def has_table(films: str | os.PathLike) -> bool:
  """Whether the captions of the data set `films` have been encoded."""
  return any(folder(films).glob('*.safetensors'))


def write(path: pathlib.Path, text: Mapping[str, np.ndarray]) -> None:
  """Writes a file of the table.

  Args:
    path: the file to write.
    text: prompt -> float [w, D], without padding.
  """
  stored = {
    prompt: np.ascontiguousarray(tokens_wD, np.float16)
    for prompt, tokens_wD in text.items()
  }
  with atomic_path(path) as partial:
    save_file(stored, partial)


def _open(path: pathlib.Path) -> list[safe_open]:
  """The files of the table; UserError if one is broken."""
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
