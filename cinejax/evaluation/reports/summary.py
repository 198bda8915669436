"""Summarises the scores of many films, under several sampling seeds.

A metric is {mean, std, n} over the films of all seeds for which it is defined;
std is the standard deviation of the films, not that of the mean. Chance and
appearance_bits are properties of a set of films and are averaged over seeds.
The section of a policy holds

  all            every metric over all films
  kind           the same by kind of the main return
  absent_chunks  the same by length of the absence before the main return
  candidates     the same by the number of characters who have been away for so
                 long that each might be meant, if names were ignored
  seeds          {mean, std, n} of each metric over the means of the seeds
  confusion      counts of main returns: a row for each expected appearance, a
                 column for each drawn one, the last column for unreadable ones
  drift          `first`, `last` and `curve` of metrics/drift.py
  films          the values of each film
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from cinejax.evaluation.metrics import drift, recall
from cinejax.evaluation.metrics.film import FilmScore
from cinejax.story import world

Summary = dict[str, float | int | None]
Metrics = dict[str, Summary]
BySeed = Sequence[Sequence[FilmScore]]  # for each seed the scores of all films


def summary(values: Iterable[float | None]) -> Summary:
  """{mean, std, n} of the values that are defined; {None, None, 0} of none."""
  defined = [value for value in values if value is not None]
  if not defined:
    return {'mean': None, 'std': None, 'n': 0}
  return {
    'mean': float(np.mean(defined)),
    'std': float(np.std(defined)),
    'n': len(defined),
  }


def metrics(scores: BySeed) -> Metrics:
  """Summarises every metric of these films."""
  pooled = [score for films in scores for score in films]
  names = dict.fromkeys(name for score in pooled for name in score.values)
  found = {name: summary(s.values.get(name) for s in pooled) for name in names}
  for name in dict.fromkeys(n for score in pooled for n in score.recall_pairs):
    pairs = [
      [s.recall_pairs[name] for s in films if name in s.recall_pairs]
      for films in scores
    ]
    found[f'{name}_chance'] = _chance(pairs)
    for part in world.Appearance._fields:
      own = [[recall.attribute(pair, part) for pair in one] for one in pairs]
      right = [float(recall.is_right(pair)) for one in own for pair in one]
      found[f'{name}_{part}'] = summary(right)
      found[f'{name}_{part}_chance'] = _chance(own)
  if any(score.appearances for score in pooled):
    appearances = [
      [k for score in films for k in score.appearances if k >= 0]
      for films in scores
    ]
    bits = [recall.appearance_bits(own) for own in appearances]
    found['appearance_bits'] = _of_sets(bits, sum(map(len, appearances)))
  return found


def seed_metrics(scores: BySeed) -> Metrics:
  """{mean, std, n} over the means that each metric has under n seeds."""
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
  """The section of a policy; see the module.

  Args:
    scores: of the films, by seed.
    lengths_secs: of the films.
    events: the main return of each film; () if they are not story films.
  """
  kinds = [event.kind for event in events]
  absent = [event.absent_chunks for event in events]
  candidates = [event.candidates for event in events]
  about = [
    {'kind': k, 'absent_chunks': a, 'candidates': c}
    for k, a, c in zip(kinds, absent, candidates, strict=True)
  ]
  about = about or [{}] * len(lengths_secs)
  section: dict[str, Any] = {'all': metrics(scores)}
  if len(scores) > 1:
    section['seeds'] = seed_metrics(scores)
  section |= {
    'kind': _split(scores, kinds, str),
    'absent_chunks': _split(scores, absent, absence),
    'candidates': _split(scores, candidates, str),
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
  """The class of an absence, with power-of-two bounds: 1, 2, 3-4, 5-8, …"""
  high = 1 << (chunks - 1).bit_length()
  low = high // 2 + 1
  return str(high) if low >= high else f'{low}-{high}'


def _chance(pairs: Sequence[Sequence[recall.RecallPair]]) -> Summary:
  """Chance of the pairs of each seed."""
  return _of_sets([recall.chance(own) for own in pairs], sum(map(len, pairs)))


def _of_sets(values: Sequence[float | None], count: int) -> Summary:
  """Summarises a metric of sets; std is None if there is only one set.

  Args:
    values: of each set.
    count: members of all sets.
  """
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
  pairs: dict[str, list[recall.RecallPair]] = {}
  for score in (score for own in scores for score in own):
    for name, pair in score.recall_pairs.items():
      pairs.setdefault(name, []).append(pair)
  counts = {
    name: recall.confusion(own, len(world.APPEARANCES)).tolist()
    for name, own in pairs.items()
  }
  return {'appearances': [str(name) for name in world.APPEARANCES], **counts}


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
