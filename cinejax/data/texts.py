"""Captions that were encoded before training: a table beside the films.

  FILMS/text/*.safetensors    prompt -> float16 [w, D], one row for each token

A text encoder can be larger than the network that is trained, so it runs once
beforehand (data_prep/texts.py). The table holds each prompt once, without
padding, however many shots and films share it.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from cinejax.core.errors import UserError
from cinejax.data import tables


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
    self._file_of = tables.open_files(self._path, 'data_prep.texts')

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
