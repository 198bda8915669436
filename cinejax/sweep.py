"""Runs the points of an ablation, and collects their metrics.

  python -m cinejax.sweep configs/ablations/FILE.py --workdir=DIR \\
    [--dry_run] [--parallel=k] [--points=NAME,…] [--config.a.b=v …]

A point is one line of shell, its commands joined by &&, which `--dry_run`
prints (launch/sweep.sh distributes them over the slices of a pod). Otherwise k
points run at a time, with NVIDIA devices divided among them; their output goes
to DIR/POINT/log.txt. The same command continues a sweep that was interrupted:
points that have DIR/POINT/done are skipped, and training resumes.
`--config.a.b=v` applies to all points, unless a point overrides it.

The metrics of all points that are done, of `--points` or not, are collected in
DIR/table.json (all metrics), DIR/table.md and DIR/plot.png (the METRICS of the
ablation). configs/ablations/__init__.py describes ablation files.
"""

import asyncio
import json
import pathlib
import runpy
import shlex
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path, check_folder
from cinejax.evaluation.reports import ablation as ablation_lib
from cinejax.sweep_runner import SweepPoint, SweepRunner


def define_flags() -> None:
  """Defines flags; not at import, so that commands can import each other."""
  flags.DEFINE_string('workdir', None, 'Folder of the sweep.', required=True)
  flags.DEFINE_bool('dry_run', False, 'Print each point as a line of shell.')
  flags.DEFINE_integer('parallel', 1, 'Points at a time.', lower_bound=1)
  flags.DEFINE_list('points', None, 'Names of points to run; default: all.')


def main() -> None:
  args = flags.FLAGS
  command.config()  # reports errors of the config before those of a point
  file, workdir = command.config_file(), check_folder(args.workdir)
  ablation = runpy.run_path(file.split(':')[0])  # without the variant
  for name in ('sweep', 'runs', 'METRICS'):
    if name not in ablation:
      raise UserError(
        f'{file} has no {name}; see configs/ablations/__init__.py'
      )
  planned = plan(ablation, file, workdir)
  points = _chosen(planned, args.points)
  if args.dry_run:
    print(*(point.shell_line for point in points), sep='\n')
    return
  for point in points:
    _record_commands(point)
  try:
    failed = asyncio.run(SweepRunner(points, args.parallel).run())
  except (KeyboardInterrupt, asyncio.CancelledError):
    print('stopped; the same command continues', file=sys.stderr)
    sys.exit(130)
  _collect(planned, workdir, ablation)
  if failed:
    logs = ', '.join(str(point.folder / 'log.txt') for point in failed)
    raise UserError(f'{len(failed)} of {len(points)} points failed; see {logs}')


def plan(
  ablation: dict[str, Any], file: str, workdir: pathlib.Path
) -> list[SweepPoint]:
  """The points of a loaded ablation file.

  Raises UserError if the config of a point is invalid, or if a name is not the
  name of a folder or occurs twice.
  """
  given = command.overrides()
  shared: list[str] = [f'--config={file}']
  if command.platform():
    shared.append(f'--platform={command.platform()}')
  points: dict[str, SweepPoint] = {}
  for entry in ablation['sweep']():
    name, folder = entry['name'], workdir / entry['name']
    changes = {key: _in_folder(value, folder) for key, value in entry.items()}
    command.config(changes)
    settings = [
      f'--config.{key}={value}' for key, value in (given | changes).items()
    ]
    commands = []
    for run in ablation['runs'](entry):
      module, *rest = shlex.split(_in_folder(run, folder))
      commands.append(('-m', module, *shared, *settings, *rest))
    if name in points or pathlib.Path(name).name != name:
      raise UserError(
        f'{file}: a point is called {name!r}; names must differ, and be valid '
        'names of folders'
      )
    points[name] = SweepPoint(name, folder, entry, tuple(commands))
  return list(points.values())


def _in_folder(value: Any, folder: pathlib.Path) -> Any:
  """A text with the point's folder in place of {dir}; other values as is."""
  if not isinstance(value, str):
    return value
  return value.replace('{dir}', str(folder))


def _chosen(points: Sequence[SweepPoint], names: Sequence[str] | None):
  if names is None:
    return points
  known = {point.name: point for point in points}
  for name in names:
    if name not in known:
      raise UserError(
        f'--points names {name}; it takes some of {", ".join(known)}'
      )
  return [known[name] for name in dict.fromkeys(names)]


def _record_commands(point: SweepPoint) -> None:
  """Writes the commands of a point to its folder.

  Raises UserError if the folder was made by other commands.
  """
  path = point.folder / 'commands.json'
  text = json.dumps(point.commands, indent=2) + '\n'
  if path.exists() and path.read_text() != text:
    raise UserError(
      f'{point.folder} was made by other commands, see {path}; choose '
      'another --workdir or delete that folder'
    )
  with atomic_path(path) as partial:
    partial.write_text(text)


def _collect(
  points: Sequence[SweepPoint], workdir: pathlib.Path, ablation: dict[str, Any]
) -> None:
  """Writes table and plot of the points that are done, and prints the table."""
  results = [
    ablation_lib.PointResult(
      point.name, point.changes, point.folder, point.shell_line
    )
    for point in points
    if point.done_path.exists()
  ]
  if results:
    question = ablation['__doc__'].splitlines()[0]
    x_axis = ablation.get('X_AXIS', '')
    metrics = ablation['METRICS']
    print(ablation_lib.write(workdir, question, results, metrics, x_axis))


if __name__ == '__main__':
  define_flags()
  if sys.argv[1:] and not sys.argv[1].startswith('-'):
    sys.argv[1] = f'--config={sys.argv[1]}'
  command.run(main, initialize_jax=False)  # the points need the devices
