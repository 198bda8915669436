"""Scores of films on disk, so that no film is scored twice.

A folder holds settings.json, what its scores depend on, and for each part of
an exam scores/NAME.json, an object of film number -> score. Files are
replaced whole after every batch: a run that stops, however it stops, goes on
from there; and more films, seeds, parts or policies are added to what is
there.
"""

import hashlib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from cinejax.core import tree
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, read_json
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.evaluation.metrics.recall import Draw

_DIGESTED = 64  # numbers of each array


class Ledger:
  """The scores in `folder`, made under `settings` (of JSON types).

  Raises UserError if the folder has scores of other settings.
  """

  def __init__(self, folder: pathlib.Path, settings: Mapping[str, Any]):
    self._folder = folder / 'scores'
    path = folder / 'settings.json'
    settings = json.loads(json.dumps(settings))
    before = read_json(path)
    if not before:
      write_json(path, settings)
    elif before != settings:
      raise UserError(
        f'{folder} has scores of other settings ({_change(before, settings)}); '
        'name another --out, or remove that folder'
      )

  def scores(self, name: str) -> dict[int, FilmScore]:
    """Of part `name` of the exam, by the number of the film."""
    path = self._folder / f'{name}.json'
    try:
      return {int(n): _score(found) for n, found in read_json(path).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
      raise UserError(f'{path} is not a file of scores; remove it') from error

  def add(self, name: str, scores: Mapping[int, FilmScore]) -> None:
    """Adds to, or replaces in, part `name`."""
    known = self.scores(name) | dict(scores)
    path = self._folder / f'{name}.json'
    write_json(path, {str(n): _record(known[n]) for n in sorted(known)})


def digest(params: Any) -> str:
  """Names a tree of arrays by its paths, shapes and some of its numbers.

  Training changes every array, so its first numbers are enough to tell one
  checkpoint from another, and large networks stay on their devices.
  """
  made = hashlib.sha256()
  for name, leaf in tree.paths(params).items():
    some = np.asarray(jax.device_get(leaf.reshape(-1)[:_DIGESTED]))
    made.update(f'{name} {leaf.shape} {leaf.dtype}'.encode())
    made.update(some.tobytes())
  return made.hexdigest()[:16]


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes `value`, whole or not at all; a list of numbers on one line."""
  text = json.dumps(value, indent=1, allow_nan=False)
  # a line break is never inside a string of JSON
  text = re.sub(r'\[\n[^][{}]*\]', _one_line, text)
  with atomic_path(path) as partial:
    partial.write_text(text + '\n')


def _one_line(match: re.Match) -> str:
  items = re.sub(r'\n *', ' ', match[0][1:-1]).strip()
  return f'[{items}]'


def _record(score: FilmScore) -> dict[str, Any]:
  return {
    'values': dict(score.values),
    'draws': {name: list(draw) for name, draw in score.draws.items()},
    'looks': list(score.looks),
    'series': {name: list(pairs) for name, pairs in score.series.items()},
  }


def _score(record: Mapping[str, Any]) -> FilmScore:
  return FilmScore(
    record['values'],
    {name: Draw(*pair) for name, pair in record['draws'].items()},
    tuple(record['looks']),
    {
      name: [(secs, value) for secs, value in pairs]
      for name, pairs in record['series'].items()
    },
  )


def _change(before: Any, now: Any) -> str:
  """The first difference in words."""
  old, new = dict(_leaves(before)), dict(_leaves(now))
  key = next(k for k in [*old, *new] if old.get(k, '-') != new.get(k, '-'))
  return f'{key} was {old.get(key)}, is {new.get(key)}'


def _leaves(node: Any, path: str = ''):
  if not isinstance(node, dict):
    yield path, node
    return
  for key, value in node.items():
    yield from _leaves(value, f'{path}.{key}' if path else key)
