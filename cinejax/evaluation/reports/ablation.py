"""Compares the points of an ablation in a table and a plot.

The metrics of a point are read from its folder:

  eval/report.json     each metric, `METRIC`; recalls also by kind of return,
                       `METRIC KIND`; `codec METRIC`; preceded by the policy
                       if there are several, and by `X` if from eval-X/
  bench.jsonl          the numbers of each measurement, `WHAT KEY` (medians,
                       where it gives a distribution)
  metrics/STAGE.jsonl  `STAGE steps`; `STAGE secs` of training, without the
                       updates that an interruption made it repeat; and the last
                       value of each metric, such as `STAGE loss`
  seconds.json         `MODULE secs` of each command, as the sweep timed it
  trajectories/        `stored bytes`

Each is {mean, std, n} over sampling seeds, where there are several. Points that
differ only in the training seed become one row of the table, whose mean and std
are over those seeds.
"""

import dataclasses
import json
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cinejax.core.files import atomic_path, read_json, write_json
from cinejax.evaluation.reports import ablation_plots, style
from cinejax.evaluation.reports.summary import Metrics, Summary, summary

# keys that resources.environment() adds to each measurement
_ENVIRONMENT = ('device', 'devices', 'host_cpus', 'cinejax', 'jax', 'jaxlib')

# keys of a line of metrics that are not about the model
_PACE = (
  'step',
  'steps_per_sec',
  'tokens_per_sec',
  'secs_left',
  'data_wait_secs',
)

# metrics in reports that cinejax 0.1 wrote, and what they are called now
_RENAMED = {'look_bits': 'appearance_bits'}


@dataclasses.dataclass(frozen=True)
class PointResult:
  """A point of a sweep that has finished."""

  name: str
  changes: Mapping[str, Any]  # key of the config -> value
  folder: pathlib.Path
  command: str  # the line of shell that made it


def write(
  folder: pathlib.Path,
  question: str,
  points: Sequence[PointResult],
  names: Sequence[str],
  x_axis: str = '',
) -> str:
  """Writes table.json, table.md and plot.png; returns the Markdown.

  Args:
    folder: to write to.
    question: the title.
    points: of the sweep.
    names: the metrics of Markdown and plot, () = all. The JSON has all.
    x_axis: the metric over which the others are plotted, see
      ablation_plots.py; '' = a row for each point.
  """
  found = {point.name: point_metrics(point.folder) for point in points}
  table = grouped(points, found)
  shown = list(names) or list(
    dict.fromkeys(name for cells in table.values() for name in cells)
  )
  text = markdown(question, table, shown)
  records = [
    {
      'name': point.name,
      'changes': point.changes,
      'command': point.command,
      'environment': _environment(point.folder),
      'metrics': found[point.name],
    }
    for point in points
  ]
  content = {
    'question': question,
    'shown': shown,
    'points': records,
    'table': table,
  }
  write_json(folder / 'table.json', content)
  with atomic_path(folder / 'table.md') as path:
    path.write_text(text)
  if x_axis:
    figure = ablation_plots.over_metric(x_axis, question, table, shown)
  else:
    figure = ablation_plots.by_row(question, table, shown)
  style.save_figure(figure, folder / 'plot.png')
  return text


def point_metrics(folder: pathlib.Path) -> Metrics:
  """Every metric of the point in `folder`; see the module."""
  found: Metrics = {}
  for report in sorted(folder.glob('eval*/report.json')):
    suffix = report.parent.name.removeprefix('eval').removeprefix('-')
    prefix = f'{suffix} ' if suffix else ''
    for name, value in _evaluated(json.loads(report.read_text())):
      found[prefix + name] = value
  numbers: dict[str, float] = {}
  for measurement in _lines(folder / 'bench.jsonl'):
    numbers |= dict(_benched(measurement))
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
  points: Sequence[PointResult], found: Mapping[str, Metrics]
) -> dict[str, Metrics]:
  """The rows of the table; points of several training seeds share a row."""
  groups: dict[str, tuple[str, list[Metrics]]] = {}
  for point in points:
    rest = {k: v for k, v in point.changes.items() if k not in ('name', 'seed')}
    name = point.name
    if 'seed' in point.changes:
      name = name.removesuffix(f'-seed{point.changes["seed"]}')
    key = json.dumps(rest, sort_keys=True)
    groups.setdefault(key, (name, []))[1].append(found[point.name])
  return {name: _over_seeds(members) for name, members in groups.values()}


def _over_seeds(members: Sequence[Metrics]) -> Metrics:
  """Summarises the means of several seeds; a single one stays as it is."""
  if len(members) == 1:
    return dict(members[0])
  known = dict.fromkeys(key for metrics in members for key in metrics)
  return {
    key: summary(m[key]['mean'] for m in members if key in m) for key in known
  }


def markdown(
  question: str, table: Mapping[str, Metrics], names: Sequence[str]
) -> str:
  """The table as Markdown; cells are mean ± standard deviation over seeds."""
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


def _environment(folder: pathlib.Path) -> dict[str, Any]:
  """Device and versions, as recorded in the first measurement of a point."""
  reports = [path.read_text() for path in folder.glob('eval*/report.json')]
  rows = [*map(json.loads, reports), *_lines(folder / 'bench.jsonl')]
  return {
    name: rows[0][name] for name in _ENVIRONMENT if rows and name in rows[0]
  }


def _cell(found: Mapping[str, Any] | None) -> str:
  if found is None or not found['n']:
    return '–'
  spread = f' ± {found["std"]:.2g} ({found["n"]})' if found['n'] > 1 else ''
  return f'{found["mean"]:.4g}{spread}'


def _evaluated(report: Mapping[str, Any]) -> Iterator[tuple[str, Summary]]:
  """The metrics of an evaluation's report."""
  for name, value in report.get('codec', {}).items():
    yield f'codec {name}', summary([value['mean']])
  policies = report['policies']
  for policy, section in policies.items():
    prefix = f'{policy} ' if len(policies) > 1 else ''
    seeds = section.get('seeds', {})
    for name, value in section['all'].items():
      shown = _RENAMED.get(name, name)
      yield f'{prefix}{shown}', seeds.get(name) or summary([value['mean']])
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
  """The last finite value of each metric, of updates and of probes."""
  by_step: dict[int, dict[str, Any]] = {}
  for row in rows:  # later lines replace earlier ones
    by_step.setdefault(row['step'], {}).update(row)
  if not by_step:
    return {}
  timed = sorted(s for s, row in by_step.items() if 'steps_per_sec' in row)
  pairs = zip([0, *timed], timed, strict=False)
  secs = [(b - a) / by_step[b]['steps_per_sec'] for a, b in pairs]
  found = {
    f'{stage} {name}': value
    for step in sorted(by_step)
    for name, value in by_step[step].items()
    if name not in _PACE and math.isfinite(value)
  }
  return found | {f'{stage} steps': max(by_step), f'{stage} secs': sum(secs)}


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  if not path.exists():
    return []
  return [json.loads(line) for line in path.read_text().splitlines()]
