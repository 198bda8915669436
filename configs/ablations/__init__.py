"""Ablations: one file, one question, many points.

A file has

  docstring     the question, the command, the cost
  get_config()  what its points share; files that train nothing take a variant
                of configs/story.py, FILE.py:four: that network, not the base
  sweep()       its points: dicts of overrides, `name` (config.name) among them
  runs(point)   a point's commands in order, each `MODULE FLAG…`
  METRICS       the figures of its table and plot, or () for all

In overrides and flags {dir} is the point's own folder. What `cinejax.sweep`
collects from there: {dir}/eval/report.json, {dir}/bench.jsonl, the metrics of
a training into {dir}, and the size of {dir}/trajectories.

Other evaluations of a point may go to {dir}/eval-NAME. Lists of points are
added with `+`; here is the rest of the algebra.
"""

import itertools
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

Point = dict[str, Any]  # key of the config -> value

# Commands that many points share: of the shipped networks, and of random ones.
EVALUATE = 'cinejax.evaluate --weights=weights/story --out={dir}/eval --seeds=3'
TIME_ROLLOUT = 'cinejax.bench --what=rollout --out={dir}/bench.jsonl'


def direct_and_time(point: Point) -> tuple[str, ...]:
  """The `runs` of points that the shipped networks direct as they are."""
  del point
  return (f'{EVALUATE} --metrics=given,generated', TIME_ROLLOUT)


def over(key: str, values: Iterable[Any], prefix: str = '') -> list[Point]:
  """A point for each value of `key`, named after it."""
  return [{'name': f'{prefix}{value}', key: value} for value in values]


def product(*sweeps: list[Point]) -> list[Point]:
  """Every choice of one point from each; the last varies fastest."""
  return [_joined(points) for points in itertools.product(*sweeps)]


def seeded(points: list[Point], seeds: Iterable[int]) -> list[Point]:
  """Each point with each seed of training; tables show mean and spread."""
  return product(points, over('seed', seeds, 'seed'))


def variant(name: str, config: ConfigDict, of: ConfigDict) -> Point:
  """What `config` has that `of` has not: a whole config as a point."""
  known = _flat(of)
  differing = {k: v for k, v in _flat(config).items() if known[k] != v}
  return differing | {'name': name}


def _flat(config: ConfigDict, path: str = '') -> Point:
  flat: Point = {}
  for key, value in config.items():
    inner = isinstance(value, ConfigDict)
    flat |= _flat(value, f'{path}{key}.') if inner else {path + key: value}
  return flat


def _joined(points: Iterable[Point]) -> Point:
  merged: Point = {}
  for point in points:
    merged |= point
  return merged | {'name': '-'.join(point['name'] for point in points)}
