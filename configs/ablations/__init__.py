"""Ablations: each file asks one question, which a sweep over points answers.

An ablation file has

  docstring     the question, the command and the cost
  get_config()  the config that its points share; files that train nothing
                accept a variant of configs/story.py, as in FILE.py:four, to use
                that network instead of the base
  sweep()       the points: dicts of overrides that include `name`, which is
                config.name
  runs(point)   the commands of a point in order, each `MODULE FLAG…`
  METRICS       the metrics of its table and plot, or () for all
  X_AXIS        the metric over which the others are plotted; without it, the
                plot has a row for each point

In overrides and flags, {dir} stands for the folder of the point.
`cinejax.sweep` collects metrics from {dir}/eval/report.json, {dir}/bench.jsonl,
the metrics of training in {dir}, and the size of {dir}/trajectories. Further
evaluations of a point may go to {dir}/eval-NAME.

Lists of points are joined with `+`; the functions below combine them otherwise.
"""

import itertools
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

Point = dict[str, Any]  # key of the config -> value

# Commands that many points share, with the shipped and with random networks.
EVALUATE = 'cinejax.evaluate --weights=weights/story --out={dir}/eval --seeds=3'
TIME_ROLLOUT = 'cinejax.bench --what=rollout --out={dir}/bench.jsonl'


def direct_and_time(point: Point) -> tuple[str, ...]:
  """The `runs` of points that evaluate and time the shipped networks."""
  del point
  return (f'{EVALUATE} --metrics=given,generated', TIME_ROLLOUT)


def over(key: str, values: Iterable[Any], prefix: str = '') -> list[Point]:
  """A point for each value of `key`, with the value in its name."""
  return [{'name': f'{prefix}{value}', key: value} for value in values]


def product(*sweeps: list[Point]) -> list[Point]:
  """All combinations of one point of each sweep; the last varies fastest."""
  return [_joined(points) for points in itertools.product(*sweeps)]


def seeded(points: list[Point], seeds: Iterable[int]) -> list[Point]:
  """Each point with each training seed; tables average over the seeds."""
  return product(points, over('seed', seeds, 'seed'))


def variant(name: str, config: ConfigDict, of: ConfigDict) -> Point:
  """A point with the values of `config` that differ from those of `of`."""
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
