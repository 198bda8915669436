"""A report as Markdown tables, with a column for each policy."""

from collections.abc import Iterable, Mapping
from typing import Any

from cinejax.evaluation.reports import multi_shot, paper_results
from cinejax.evaluation.reports.summary import Metrics, Summary


def markdown(report: Mapping[str, Any]) -> str:
  """The report as Markdown, with a column for each policy."""
  policies = report['policies']
  facts = [
    f'{key} {value}'
    for key, value in report.items()
    if not isinstance(value, Mapping | list) and key != 'command'
  ]
  lines = [
    f'# {report["name"]}: {report["films"]} films of kind {report["kind"]}',
    '',
    ', '.join(facts) + '.',
    '',
    '```sh',
    report['command'],
    '```',
  ]
  if policies:
    lines += ['', *_policy_tables(policies)]
    if table := multi_shot.markdown(policies):
      lines += ['', *table]
  if 'codec' in report:
    lines += ['', '## codec', '', *_table('metric', {'': report['codec']})]
  if report.get('plots'):
    lines += ['', '## plots', '']
    lines += [f'![{name}]({name})' for name in report['plots']]
  return '\n'.join([*lines, '', *paper_results.markdown()]) + '\n'


def _policy_tables(policies: Mapping[str, Any]) -> list[str]:
  several = all('seeds' in entry for entry in policies.values())
  over = 'the means of n seeds' if several else 'n films'
  scope = 'seeds' if several else 'all'
  whole = {policy: entry[scope] for policy, entry in policies.items()}
  lines = [
    f'mean ± standard deviation over {over} (n); recalls are of main returns.',
    '',
    *_table('metric', whole),
  ]
  for split in ('kind', 'absent_chunks', 'candidates'):
    classes = [key for entry in policies.values() for key in entry[split]]
    for name in dict.fromkeys(classes):
      part = {
        policy: _recalls(entry[split].get(name, {}))
        for policy, entry in policies.items()
      }
      lines += ['', f'## {split} {name} (over films)', '']
      lines += _table('metric', part)
  drifts = {
    p: entry['drift'] for p, entry in policies.items() if 'drift' in entry
  }
  return lines + (_drift_table(drifts) if drifts else [])


def _drift_table(drifts: Mapping[str, Any]) -> list[str]:
  names = dict.fromkeys(n for found in drifts.values() for n in found['first'])
  secs = max(found['span_secs'] for found in drifts.values())
  lines = [
    '',
    f'## drift: the first {secs:.3g} s of films -> the last',
    '',
    *_header('metric', drifts),
  ]
  for name in names:
    cells = []
    for found in drifts.values():
      pair = [found[end].get(name, {}).get('mean') for end in ('first', 'last')]
      texts = ['–' if value is None else f'{value:.3g}' for value in pair]
      cells.append(' -> '.join(texts))
    lines.append(f'| {" | ".join([name, *cells])} |')
  return lines


def _recalls(found: Metrics) -> Metrics:
  return {k: v for k, v in found.items() if k.startswith('recall')}


def _table(corner: str, columns: Mapping[str, Metrics]) -> list[str]:
  names = dict.fromkeys(name for found in columns.values() for name in found)
  lines = _header(corner, columns)
  for name in names:
    cells = [_cell(found.get(name)) for found in columns.values()]
    lines.append(f'| {" | ".join([name, *cells])} |')
  return lines


def _header(corner: str, columns: Iterable[str]) -> list[str]:
  names = [corner, *columns]
  return [f'| {" | ".join(names)} |', '|' + '---|' * len(names)]


def _cell(found: Summary | None) -> str:
  if found is None or found['mean'] is None:
    return '–'
  spread = '' if found['std'] is None else f' ± {found["std"]:.3g}'
  return f'{found["mean"]:.4g}{spread} ({found["n"]})'
