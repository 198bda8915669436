"""What the points of an ablation found, side by side.

A point's figures are read from its folder:

  eval/report.json     each metric, `METRIC`; recalls also by kind of return,
                       `METRIC KIND`; `codec METRIC`; with several policies
                       preceded by theirs; those of eval-X/ by `X`
  bench.jsonl          the numbers of each row, `WHAT KEY` (medians of spreads)
  metrics/STAGE.jsonl  `STAGE steps`, `STAGE secs` of training (what a stop
                       made it repeat not counted), `STAGE loss`
  seconds.json         `MODULE secs` of each command, as the sweep saw it
  trajectories/        `stored bytes`

Each is {mean, std, n} over sampling seeds, where there were several. Points
that differ in nothing but the seed of training are one row of the table, and
mean and spread are over those.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from cinejax.core.files import atomic_path, read_json
from cinejax.evaluation.reports import style
from cinejax.evaluation.reports.summary import Metrics, Summary, summary

# of what resources.facts() adds to each measurement
_FACTS = ('device', 'devices', 'host_cpus', 'cinejax', 'jax', 'jaxlib')


@dataclasses.dataclass(frozen=True)
class Row:
  """A point that is done."""

  name: str
  changes: Mapping[str, Any]  # key of the config -> value
  folder: pathlib.Path
  line: str  # of shell, that made it


def write(
  folder: pathlib.Path,
  question: str,
  rows: Sequence[Row],
  names: Sequence[str],
) -> str:
  """Writes table.json, table.md and plot.png; returns the Markdown.

  `names` are the figures of Markdown and plot, () = all. The JSON has all.
  """
  found = {row.name: figures(row.folder) for row in rows}
  table = grouped(rows, found)
  shown = list(names) or list(
    dict.fromkeys(name for cells in table.values() for name in cells)
  )
  text = markdown(question, table, shown)
  points = [
    {
      'name': row.name,
      'changes': row.changes,
      'line': row.line,
      'made_on': _made_on(row.folder),
      'figures': found[row.name],
    }
    for row in rows
  ]
  content = {'question': question, 'points': points, 'table': table}
  with atomic_path(folder / 'table.json') as path:
    path.write_text(json.dumps(content, indent=2) + '\n')
  with atomic_path(folder / 'table.md') as path:
    path.write_text(text)
  style.save_figure(plot(question, table, shown), folder / 'plot.png')
  return text


def figures(folder: pathlib.Path) -> Metrics:
  """Everything that is known of the point in `folder`, by name."""
  found: Metrics = {}
  for report in sorted(folder.glob('eval*/report.json')):
    of = report.parent.name.removeprefix('eval').removeprefix('-')
    prefix = f'{of} ' if of else ''
    for name, value in _evaluated(json.loads(report.read_text())):
      found[prefix + name] = value
  numbers: dict[str, float] = {}
  for row in _lines(folder / 'bench.jsonl'):
    numbers |= dict(_benched(row))
  for path in sorted((folder / 'metrics').glob('*.jsonl')):
    numbers |= _trained(path.stem, _lines(path))
  spent = read_json(folder / 'seconds.json')
  numbers |= {f'{module} secs': secs for module, secs in spent.items()}
  stored = folder / 'trajectories'
  if stored.exists():
    files = [path for path in stored.rglob('*') if path.is_file()]
    numbers['stored bytes'] = sum(path.stat().st_size for path in files)
  return found | {name: summary([value]) for name, value in numbers.items()}


def grouped(
  rows: Sequence[Row], found: Mapping[str, Metrics]
) -> dict[str, Metrics]:
  """Rows of the table; those of several seeds become one."""
  groups: dict[str, tuple[str, list[Metrics]]] = {}
  for row in rows:
    rest = {k: v for k, v in row.changes.items() if k not in ('name', 'seed')}
    name = row.name
    if 'seed' in row.changes:
      name = name.removesuffix(f'-seed{row.changes["seed"]}')
    key = json.dumps(rest, sort_keys=True)
    groups.setdefault(key, (name, []))[1].append(found[row.name])
  return {name: _over(members) for name, members in groups.values()}


def _over(members: Sequence[Metrics]) -> Metrics:
  """Mean and spread of the means of several seeds; one as it is."""
  if len(members) == 1:
    return dict(members[0])
  known = dict.fromkeys(key for figures in members for key in figures)
  return {
    key: summary(m[key]['mean'] for m in members if key in m) for key in known
  }


def markdown(
  question: str, table: Mapping[str, Metrics], names: Sequence[str]
) -> str:
  """A line for each row; mean ± standard deviation over seeds."""
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
  """A panel for each figure, a dot for each row, whiskers of one std."""
  page, axes = style.grid(1, len(names), (2.4, 0.8 + 0.25 * len(table)))
  page.suptitle(question, fontsize=10, color=style.INK)
  for panel, name in zip(axes[0], names, strict=True):
    style.title(panel, name)
    for place, (row, cells) in enumerate(table.items()):
      cell = cells.get(name) or summary([])
      if cell['n']:
        whisker = cell['std'] or None
        panel.errorbar(
          cell['mean'], place, xerr=whisker, fmt='o', color=style.colour(row)
        )
    first = panel is axes[0, 0]
    panel.set_yticks(range(len(table)), table if first else [''] * len(table))
    panel.set_ylim(len(table) - 0.5, -0.5)  # first row on top
    panel.locator_params(axis='x', nbins=4)
  return page


def _made_on(folder: pathlib.Path) -> dict[str, Any]:
  """Device and versions of a point, as what measured it has noted them."""
  reports = [path.read_text() for path in folder.glob('eval*/report.json')]
  rows = [*map(json.loads, reports), *_lines(folder / 'bench.jsonl')]
  return {name: rows[0][name] for name in _FACTS if rows and name in rows[0]}


def _cell(found: Mapping[str, Any] | None) -> str:
  if found is None or not found['n']:
    return '–'
  spread = f' ± {found["std"]:.2g} ({found["n"]})' if found['n'] > 1 else ''
  return f'{found["mean"]:.4g}{spread}'


def _evaluated(report: Mapping[str, Any]) -> Iterator[tuple[str, Summary]]:
  for name, value in report.get('codec', {}).items():
    yield f'codec {name}', summary([value['mean']])
  policies = report['policies']
  for policy, section in policies.items():
    prefix = f'{policy} ' if len(policies) > 1 else ''
    seeds = section.get('seeds', {})
    for name, value in section['all'].items():
      yield f'{prefix}{name}', seeds.get(name) or summary([value['mean']])
    for kind, part in section['kind'].items():
      for name, value in part.items():
        if name.startswith('recall'):
          yield f'{prefix}{name} {kind}', summary([value['mean']])


def _benched(row: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
  for name, value in row.items():
    if isinstance(value, Mapping):
      value = value.get('median')
    if isinstance(value, int | float) and not isinstance(value, bool):
      yield f'{row["what"]} {name}', value


def _trained(stage: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
  rows = {row['step']: row for row in rows}  # of one step the later counts
  if not rows:
    return {}
  steps = sorted(rows)
  pairs = zip([0, *steps], steps, strict=False)
  secs = [(b - a) / rows[b]['steps_per_sec'] for a, b in pairs]
  losses = [rows[step]['loss'] for step in steps if 'loss' in rows[step]]
  return {f'{stage} steps': steps[-1], f'{stage} secs': sum(secs)} | {
    f'{stage} loss': loss for loss in losses[-1:]
  }


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  if not path.exists():
    return []
  return [json.loads(line) for line in path.read_text().splitlines()]
