"""Figures of many films, under some sampling seeds, as one report.

Every metric is {mean, std, n} over the films (of all seeds) for which it is
defined, std being that of the films, not of the mean. Chance and look_bits
are of a set of films, not of one: they are means over seeds. A policy's
section holds

  all, kind, absent_chunks   metrics, and the same split by the main return
  seeds                      {mean, std, n} over the means of the seeds
  confusion                  main returns: rows the look that is right, in
                             columns the look drawn, the last one unreadable
  drift                      metrics/drift.py: `first` and `last` of each film,
                             curve
  films                      each film's own figures
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cinejax.evaluation.metrics import drift, recall
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.story import world

Summary = dict[str, float | int | None]
Metrics = dict[str, Summary]
BySeed = Sequence[Sequence[FilmScore]]  # of each seed, the films


def summary(values: Iterable[float | None]) -> Summary:
  """{mean, std, n} of the defined values; null of none."""
  defined = [value for value in values if value is not None]
  if not defined:
    return {'mean': None, 'std': None, 'n': 0}
  return {
    'mean': float(np.mean(defined)),
    'std': float(np.std(defined)),
    'n': len(defined),
  }


def metrics(scores: BySeed) -> Metrics:
  """Every metric of these films."""
  pooled = [score for films in scores for score in films]
  names = dict.fromkeys(name for score in pooled for name in score.values)
  found = {name: summary(s.values.get(name) for s in pooled) for name in names}
  draws = dict.fromkeys(name for score in pooled for name in score.draws)
  for name in draws:
    chances = [
      recall.chance([s.draws[name] for s in films if name in s.draws])
      for films in scores
    ]
    count = sum(name in score.draws for score in pooled)
    found[f'{name}_chance'] = _of_sets(chances, count)
  if any(score.looks for score in pooled):
    looks = [[k for s in films for k in s.looks if k >= 0] for films in scores]
    bits = [recall.look_bits(own) for own in looks]
    found['look_bits'] = _of_sets(bits, sum(map(len, looks)))
  return found


def spread(scores: BySeed) -> Metrics:
  """{mean, std, n} of each metric's means over n seeds."""
  each = [metrics([films]) for films in scores]
  names = dict.fromkeys(name for found in each for name in found)
  return {
    name: summary(found[name]['mean'] for found in each if name in found)
    for name in names
  }


def policy_report(
  scores: BySeed,
  lengths_secs: Sequence[float],
  events: Sequence[world.ReturnEvent] = (),
) -> dict[str, Any]:
  """All of a policy's figures.

  Args:
    scores: of its films.
    lengths_secs: of the films.
    events: the main return of each film, if they are films of the story world.
  """
  kinds = [event.kind for event in events]
  absent = [event.absent_chunks for event in events]
  about = [
    {'kind': k, 'absent_chunks': a} for k, a in zip(kinds, absent, strict=True)
  ]
  about = about or [{}] * len(lengths_secs)
  section: dict[str, Any] = {'all': metrics(scores)}
  if len(scores) > 1:
    section['seeds'] = spread(scores)
  section |= {
    'kind': _split(scores, kinds, str),
    'absent_chunks': _split(scores, absent, absence),
    'confusion': _confusion(scores),
  }
  if any(score.series for own in scores for score in own):
    section['drift'] = _drift(scores, lengths_secs)
  section['films'] = [
    {'film': number, 'seed': seed, **facts, **score.values}
    for seed, own in enumerate(scores)
    for number, (facts, score) in enumerate(zip(about, own, strict=True))
  ]
  return section


def absence(chunks: int) -> str:
  """The class of an absence, up to a power of two: 1, 2, 3-4, 5-8, …"""
  high = 1 << (chunks - 1).bit_length()
  low = high // 2 + 1
  return str(high) if low >= high else f'{low}-{high}'


def _of_sets(values: Sequence[float | None], count: int) -> Summary:
  """Figures of sets with `count` members in all; no spread of one set."""
  found = summary(values)
  std = found['std'] if len(values) > 1 else None
  return {'mean': found['mean'], 'std': std, 'n': count}


def _split(
  scores: BySeed,
  keys: Sequence[Any],
  name_fn: Callable[[Any], str],
) -> dict[str, Metrics]:
  names = dict.fromkeys(name_fn(key) for key in sorted(keys))
  return {
    name: metrics(
      [
        [s for s, key in zip(own, keys, strict=True) if name_fn(key) == name]
        for own in scores
      ]
    )
    for name in names
  }


def _confusion(scores: BySeed) -> dict[str, Any]:
  draws: dict[str, list[recall.Draw]] = {}
  for score in (score for own in scores for score in own):
    for name, draw in score.draws.items():
      draws.setdefault(name, []).append(draw)
  counts = {
    name: recall.confusion(own, len(world.APPEARANCES)).tolist()
    for name, own in draws.items()
  }
  return {'looks': [str(look) for look in world.APPEARANCES], **counts}


def _drift(scores: BySeed, lengths_secs: Sequence[float]) -> dict[str, Any]:
  series = [score.series for own in scores for score in own]
  pairs = [
    drift.ends(score.series, secs)
    for own in scores
    for score, secs in zip(own, lengths_secs, strict=True)
  ]
  names = dict.fromkeys(name for found in pairs for name in found)
  first, last = (
    {n: summary(found[n][end] for found in pairs if n in found) for n in names}
    for end in (0, 1)
  )
  return {
    'span_secs': drift.end_span(max(lengths_secs)),
    'first': first,
    'last': last,
    'curve': drift.curve(series, max(lengths_secs)),
  }
