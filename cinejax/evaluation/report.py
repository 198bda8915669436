"""Figures of many films as one report: JSON and a Markdown table.

Every metric is {mean, std, n} over the films for which it is defined, std
being that of the films, not of the mean. Chance and look_bits are of a set
of films, not of one, and have no std. A report of a policy holds `all`, the
same split by `kind` (opening, later) and by `absent_chunks`, and the films.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from cinejax.evaluation import recall
from cinejax.evaluation.scores import FilmScore
from cinejax.story import world

Summary = dict[str, float | int | None]
Metrics = dict[str, Summary]


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


def metrics(scores: Sequence[FilmScore]) -> Metrics:
  """Every metric of these films."""
  names = dict.fromkeys(name for score in scores for name in score.values)
  found = {name: summary(s.values.get(name) for s in scores) for name in names}
  draws = dict.fromkeys(name for score in scores for name in score.draws)
  for name in draws:
    own = [score.draws[name] for score in scores if name in score.draws]
    found[f'{name}_chance'] = _of_set(recall.chance(own), len(own))
  looks = [look for score in scores for look in score.looks if look >= 0]
  if any(score.looks for score in scores):
    found['look_bits'] = _of_set(recall.look_bits(looks), len(looks))
  return found


def policy_report(
  films: Sequence[world.StoryFilm], scores: Sequence[FilmScore]
) -> dict[str, Any]:
  """All of a policy's figures, split and by film."""
  events = [film.events[0] for film in films]
  return {
    'all': metrics(scores),
    'kind': _split(scores, [event.kind for event in events], str),
    'absent_chunks': _split(
      scores, [event.absent_chunks for event in events], absence
    ),
    'films': [
      {
        'film': number,
        'kind': event.kind,
        'absent_chunks': event.absent_chunks,
        **score.values,
      }
      for number, (event, score) in enumerate(zip(events, scores, strict=True))
    ],
  }


def absence(chunks: int) -> str:
  """The class of an absence, up to a power of two: 1, 2, 3-4, 5-8, …"""
  high = 1 << (chunks - 1).bit_length()
  low = high // 2 + 1
  return str(high) if low >= high else f'{low}-{high}'


def markdown(report: Mapping[str, Any]) -> str:
  """The report as tables with a column for each policy."""
  policies = report['policies']
  facts = [
    f'{key} {value}'
    for key, value in report.items()
    if not isinstance(value, Mapping)
  ]
  lines = [
    f'# {report["name"]}: {report["films"]} films of kind {report["kind"]}',
    '',
    ', '.join(facts) + '.',
    'mean ± standard deviation over films (films); recall is of main events.',
  ]
  if policies:
    whole = {policy: entry['all'] for policy, entry in policies.items()}
    lines += ['', *_table('metric', whole)]
  for split in ('kind', 'absent_chunks'):
    classes = [key for entry in policies.values() for key in entry[split]]
    for name in dict.fromkeys(classes):
      part = {
        policy: _recalls(entry[split].get(name, {}))
        for policy, entry in policies.items()
      }
      lines += ['', f'## {split} {name}', '', *_table('metric', part)]
  if 'codec' in report:
    lines += ['', '## codec', '', *_table('metric', {'': report['codec']})]
  return '\n'.join(lines) + '\n'


def _of_set(value: float | None, count: int) -> Summary:
  return {'mean': value, 'std': None, 'n': count}


def _split(
  scores: Sequence[FilmScore],
  keys: Sequence[Any],
  name_fn: Callable[[Any], str],
) -> dict[str, Metrics]:
  names = dict.fromkeys(name_fn(key) for key in sorted(keys))
  return {
    name: metrics(
      [s for s, key in zip(scores, keys, strict=True) if name_fn(key) == name]
    )
    for name in names
  }


def _recalls(found: Metrics) -> Metrics:
  return {k: v for k, v in found.items() if k.startswith('recall')}


def _table(corner: str, columns: Mapping[str, Metrics]) -> list[str]:
  names = dict.fromkeys(name for found in columns.values() for name in found)
  lines = [
    f'| {" | ".join([corner, *columns])} |',
    '|' + '---|' * (len(columns) + 1),
  ]
  for name in names:
    cells = [_cell(found.get(name)) for found in columns.values()]
    lines.append(f'| {" | ".join([name, *cells])} |')
  return lines


def _cell(found: Summary | None) -> str:
  if found is None or found['mean'] is None:
    return '–'
  spread = '' if found['std'] is None else f' ± {found["std"]:.3g}'
  return f'{found["mean"]:.4g}{spread} ({found["n"]})'
