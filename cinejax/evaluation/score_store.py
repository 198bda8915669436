"""Scores of films on disk, so that no film is scored twice.

A folder holds `settings.json`, which is everything that its scores depend on,
and for each part of an evaluation `scores/NAME.json`, an object that maps the
number of a film to its score. Files are replaced atomically after every batch,
so an interrupted run continues where it stopped, and more films, seeds, parts
or policies are added to what is there.
"""

import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.core.files import read_json, write_json, write_or_compare
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import RecallPair

_DIGESTED = 64  # elements of each array

# Keys of scores that cinejax 0.1 wrote, and what they are called now.
_OLD_FIELDS = {'draws': 'recall_pairs', 'looks': 'appearances'}
_OLD_VALUES = {
  'read_clean_look': 'read_clean_appearance',
  'read_codec_look': 'read_codec_appearance',
}


class ScoreStore:
  """The scores in `folder`, which were made under `settings`.

  Raises UserError if the folder holds scores that were made under other
  settings.
  """

  def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
    self._folder = folder / 'scores'
    changed = write_or_compare(folder / 'settings.json', settings)
    if changed:
      key, before, now = changed
      raise UserError(
        f'{folder} has scores of other settings ({key} was {before}, is '
        f'{now}); choose another --out, or remove that folder'
      )

  def scores(self, name: str) -> dict[int, FilmScore]:
    """The scores of part `name` by number of the film.

    Raises UserError if the file of this part is damaged.
    """
    path = self._folder / f'{name}.json'
    try:
      return {int(n): _from_json(found) for n, found in read_json(path).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
      raise UserError(f'{path} is not a file of scores; remove it') from error

  def add(self, name: str, scores: Mapping[int, FilmScore]) -> None:
    """Adds scores to part `name`; those of the same films are replaced."""
    known = self.scores(name) | dict(scores)
    path = self._folder / f'{name}.json'
    write_json(path, {str(n): _to_json(known[n]) for n in sorted(known)})


def digest(params: Any) -> str:
  """Sixteen hex digits that identify a tree of arrays.

  They depend on the path, shape and type of every array and on its first
  elements alone: training changes every array, so that these tell checkpoints
  apart, and large networks need not be fetched from their devices.
  """
  hashed = hashlib.sha256()
  for name, leaf in tree.paths(params).items():
    first = np.asarray(jax.device_get(leaf.reshape(-1)[:_DIGESTED]))
    hashed.update(f'{name} {leaf.shape} {leaf.dtype}'.encode())
    hashed.update(first.tobytes())
  return hashed.hexdigest()[:16]


def _to_json(score: FilmScore) -> dict[str, Any]:
  return {
    'values': dict(score.values),
    'recall_pairs': {n: list(pair) for n, pair in score.recall_pairs.items()},
    'appearances': list(score.appearances),
    'series': {name: list(samples) for name, samples in score.series.items()},
  }


def _from_json(record: Mapping[str, Any]) -> FilmScore:
  record = {_OLD_FIELDS.get(key, key): found for key, found in record.items()}
  values = record['values'].items()
  return FilmScore(
    {_OLD_VALUES.get(name, name): value for name, value in values},
    {name: RecallPair(*pair) for name, pair in record['recall_pairs'].items()},
    tuple(record['appearances']),
    {
      name: [(secs, value) for secs, value in samples]
      for name, samples in record['series'].items()
    },
  )
