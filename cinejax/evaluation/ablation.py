"""What the points of an ablation found, side by side.

A point's figures are read from its folder:

  eval/report.json   the mean of each metric, `METRIC`; recalls also by kind of
                     return, `METRIC KIND`; with several policies each name is
                     preceded by its own; `codec METRIC`
  bench.jsonl        the numbers of each row, `WHAT KEY` (medians of spreads)
  metrics/STAGE.jsonl  `STAGE steps`, `STAGE secs` of training (those that were
                     repeated after a stop not counted), `STAGE loss`
  trajectories/      `stored bytes`, where there is one

Points that differ in nothing but the seed of training are one row of the
table: {mean, std, n} over seeds.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from cinejax.core.files import atomic_path
from cinejax.evaluation.report import Metrics, summary

Figures = dict[str, float]
_PANEL_INCHES = 2.4


@dataclasses.dataclass(frozen=True)
class Row:
  """A point that is done."""

  name: str
  changes: Mapping[str, Any]  # key of the config -> value
  folder: pathlib.Path


def write(
  folder: pathlib.Path,
  question: str,
  rows: Sequence[Row],
  names: Sequence[str],
) -> str:
  """Writes table.json, table.md and plot.png; returns the Markdown.

  `names` are the figures of Markdown and plot, () = all; those that no row
  has are left out. The JSON has all.
  """
  found = {row.name: figures(row.folder) for row in rows}
  table = grouped(rows, found)
  known = dict.fromkeys(name for cells in table.values() for name in cells)
  shown = [name for name in names or known if name in known]
  text = markdown(question, table, shown)
  points = [
    {'name': row.name, 'changes': row.changes, 'figures': found[row.name]}
    for row in rows
  ]
  content = {'question': question, 'points': points, 'table': table}
  with atomic_path(folder / 'table.json') as path:
    path.write_text(json.dumps(content, indent=2) + '\n')
  with atomic_path(folder / 'table.md') as path:
    path.write_text(text)
  with atomic_path(folder / 'plot.png') as path:
    plot(question, table, shown).savefig(path, dpi=150)
  return text


def figures(folder: pathlib.Path) -> Figures:
  """Everything that is known of the point in `folder`, by name."""
  found: Figures = {}
  report = folder / 'eval' / 'report.json'
  if report.exists():
    found |= dict(_evaluated(json.loads(report.read_text())))
  for row in _lines(folder / 'bench.jsonl'):
    found |= dict(_benched(row))
  for path in sorted((folder / 'metrics').glob('*.jsonl')):
    found |= _trained(path.stem, _lines(path))
  stored = folder / 'trajectories'
  if stored.exists():
    files = [path for path in stored.rglob('*') if path.is_file()]
    found['stored bytes'] = sum(path.stat().st_size for path in files)
  return found


def grouped(
  rows: Sequence[Row], found: Mapping[str, Figures]
) -> dict[str, Metrics]:
  """Rows of the table; those of several seeds become one."""
  groups: dict[str, tuple[str, list[Figures]]] = {}
  for row in rows:
    rest = {k: v for k, v in row.changes.items() if k not in ('name', 'seed')}
    name = row.name
    if 'seed' in row.changes:
      name = name.removesuffix(f'-seed{row.changes["seed"]}')
    key = json.dumps(rest, sort_keys=True)
    groups.setdefault(key, (name, []))[1].append(found[row.name])
  table = {}
  for name, members in groups.values():
    known = dict.fromkeys(key for figures in members for key in figures)
    table[name] = {key: summary(m.get(key) for m in members) for key in known}
  return table


def markdown(
  question: str, table: Mapping[str, Metrics], names: Sequence[str]
) -> str:
  """A line for each row; mean ± standard deviation over seeds of training."""
  lines = [
    f'# {question}',
    '',
    f'| {" | ".join(["", *names])} |',
    '|' + '---|' * (len(names) + 1),
  ]
  for row, cells in table.items():
    shown = [_cell(cells.get(name)) for name in names]
    lines.append(f'| {" | ".join([row, *shown])} |')
  return '\n'.join(lines) + '\n'


def plot(
  question: str, table: Mapping[str, Metrics], names: Sequence[str]
) -> Figure:
  """A panel for each figure, a dot for each row, whiskers over seeds."""
  height = 1.1 + 0.25 * len(table)
  page = Figure((1.5 + _PANEL_INCHES * len(names), height), layout='tight')
  page.suptitle(question, fontsize='medium')
  places = range(len(table))
  for panel, name in zip(
    page.subplots(1, len(names), sharey=True, squeeze=False)[0],
    names,
    strict=True,
  ):
    cells = [cells.get(name) or summary([]) for cells in table.values()]
    known = [(y, c) for y, c in zip(places, cells, strict=True) if c['n']]
    panel.errorbar(
      [cell['mean'] for _, cell in known],
      [y for y, _ in known],
      xerr=[cell['std'] for _, cell in known],
      fmt='o',
      capsize=3,
    )
    panel.set_xlabel(name)
    panel.set_yticks(places, table)
    panel.set_ylim(len(table) - 0.5, -0.5)  # first row on top
    panel.locator_params(axis='x', nbins=4)
    panel.grid(axis='x', alpha=0.3)
  return page


def _cell(found: Mapping[str, Any] | None) -> str:
  if found is None or not found['n']:
    return '–'
  spread = f' ± {found["std"]:.2g} ({found["n"]})' if found['n'] > 1 else ''
  return f'{found["mean"]:.4g}{spread}'


def _evaluated(report: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  for name, value in report.get('codec', {}).items():
    yield f'codec {name}', value['mean']
  policies = report['policies']
  for policy, section in policies.items():
    prefix = f'{policy} ' if len(policies) > 1 else ''
    parts = [('', section['all'])]
    parts += [(f' {kind}', part) for kind, part in section['kind'].items()]
    for suffix, metrics in parts:
      for name, value in metrics.items():
        whole = not suffix or name.startswith('recall')
        if whole and value['mean'] is not None:
          yield f'{prefix}{name}{suffix}', value['mean']


def _benched(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  for name, value in row.items():
    if isinstance(value, Mapping):
      value = value.get('median')
    if isinstance(value, int | float) and not isinstance(value, bool):
      yield f'{row["what"]} {name}', value


def _trained(stage: str, rows: Sequence[Mapping[str, Any]]) -> Figures:
  rows = {row['step']: row for row in rows}  # of one step the later counts
  if not rows:
    return {}
  steps = sorted(rows)
  pairs = zip([0, *steps], steps, strict=False)
  secs = [(b - a) / rows[b]['steps_per_sec'] for a, b in pairs]
  return {
    f'{stage} steps': steps[-1],
    f'{stage} secs': sum(secs),
    f'{stage} loss': rows[steps[-1]]['loss'],
  }


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  if not path.exists():
    return []
  return [json.loads(line) for line in path.read_text().splitlines()]
