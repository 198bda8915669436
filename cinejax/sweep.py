"""Runs the points of an ablation, and collects what they found.

  python -m cinejax.sweep configs/ablations/FILE.py --workdir=DIR \\
    [--dry_run] [--parallel=k] [--points=NAME,…] [--config.a.b=v …]

A point is one line of shell, its commands joined by &&, which `--dry_run`
prints (launch/sweep.sh hands them out to the slices of a pod). Otherwise k
points run at a time, NVIDIA devices divided among them; DIR/POINT/log.txt has
what they say. The same command goes on where it was stopped: a point that has
DIR/POINT/done is skipped, a training resumes. `--config.a.b=v` holds for all
points, unless a point says otherwise.

Whatever is done so far, be it of `--points` or not, is put together in
DIR/table.json (everything), DIR/table.md and DIR/plot.png (the ablation's
FIGURES). What an ablation file has is said in configs/ablations/__init__.py.
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
from cinejax.sweep_runner import Point, run_points


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('workdir', None, 'Folder of the sweep.', required=True)
  flags.DEFINE_bool('dry_run', False, 'Print a line of shell for each point.')
  flags.DEFINE_integer('parallel', 1, 'Points at a time.', lower_bound=1)
  flags.DEFINE_list('points', None, 'Their names; default: all.')


def main() -> None:
  args = flags.FLAGS
  command.config()  # what is wrong with it is said before a point is
  file, workdir = command.config_file(), check_folder(args.workdir)
  ablation = runpy.run_path(file.split(':')[0])  # a variant may follow
  for name in ('sweep', 'runs', 'FIGURES'):
    if name not in ablation:
      raise UserError(
        f'{file} has no {name}; see configs/ablations/__init__.py'
      )
  planned = plan(ablation, file, workdir)
  points = _chosen(planned, args.points)
  if args.dry_run:
    print(*(point.line for point in points), sep='\n')
    return
  for point in points:
    _claim(point)
  try:
    failed = asyncio.run(run_points(points, args.parallel))
  except (KeyboardInterrupt, asyncio.CancelledError):
    print('stopped; the same command goes on from there', file=sys.stderr)
    sys.exit(130)
  _collect(planned, workdir, ablation)
  if failed:
    logs = ', '.join(str(point.folder / 'log.txt') for point in failed)
    raise UserError(f'{len(failed)} of {len(points)} points failed; see {logs}')


def plan(
  ablation: dict[str, Any], file: str, workdir: pathlib.Path
) -> list[Point]:
  """The points of a loaded ablation file, each checked as a config."""
  given = command.overrides()
  shared: list[str] = [f'--config={file}']
  if command.platform():
    shared.append(f'--platform={command.platform()}')
  points: dict[str, Point] = {}
  for entry in ablation['sweep']():
    name, folder = entry['name'], workdir / entry['name']
    changes = {key: _placed(value, folder) for key, value in entry.items()}
    command.config(changes)
    settings = [
      f'--config.{key}={value}' for key, value in (given | changes).items()
    ]
    commands = []
    for run in ablation['runs'](entry):
      module, *rest = shlex.split(_placed(run, folder))
      commands.append(('-m', module, *shared, *settings, *rest))
    if name in points or pathlib.Path(name).name != name:
      raise UserError(
        f'{file}: a point is called {name!r}; names are those of folders, and '
        'differ'
      )
    points[name] = Point(name, folder, entry, tuple(commands))
  return list(points.values())


def _placed(value: Any, folder: pathlib.Path) -> Any:
  if not isinstance(value, str):
    return value
  return value.replace('{dir}', str(folder))


def _chosen(points: Sequence[Point], names: Sequence[str] | None):
  if names is None:
    return points
  known = {point.name: point for point in points}
  for name in names:
    if name not in known:
      raise UserError(
        f'--points names {name}; it takes some of {", ".join(known)}'
      )
  return [known[name] for name in dict.fromkeys(names)]


def _claim(point: Point) -> None:
  """Says in the point's folder how it is made; UserError if otherwise."""
  path = point.folder / 'commands.json'
  text = json.dumps(point.commands, indent=2) + '\n'
  if path.exists() and path.read_text() != text:
    raise UserError(
      f'{point.folder} was made by other commands, which {path} has; take '
      'another --workdir or delete it'
    )
  with atomic_path(path) as partial:
    partial.write_text(text)


def _collect(
  points: Sequence[Point], workdir: pathlib.Path, ablation: dict[str, Any]
) -> None:
  rows = [
    ablation_lib.Row(point.name, point.changes, point.folder, point.line)
    for point in points
    if point.done.exists()
  ]
  if rows:
    question = ablation['__doc__'].splitlines()[0]
    print(ablation_lib.write(workdir, question, rows, ablation['FIGURES']))


if __name__ == '__main__':
  define_flags()
  if sys.argv[1:] and not sys.argv[1].startswith('-'):
    sys.argv[1] = f'--config={sys.argv[1]}'
  command.run(main, initialize_jax=False)  # devices are for the points
