"""Runs the points of an ablation, and collects what they found.

  python -m cinejax.sweep configs/ablations/FILE.py --workdir=DIR \\
    [--dry_run] [--parallel=k] [--points=NAME,…] [--config.a.b=v …]

A point is one line of shell, its commands joined by &&, which `--dry_run`
prints (launch/sweep.sh hands them out to the slices of a pod). Otherwise k
points run at a time, NVIDIA devices divided among them; DIR/POINT/log.txt has
what they say. The same command goes on where it was stopped: a point that has
DIR/POINT/done is skipped, a training resumes. `--config.a.b=v` holds for all
points, unless a point says otherwise.

Whatever is done so far is put together in DIR/table.json (everything),
DIR/table.md and DIR/plot.png (the ablation's FIGURES). What an ablation file
has is said in configs/ablations/__init__.py.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import runpy
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from cinejax import command
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.evaluation import ablation as ablation_lib

Argv = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Point:
  name: str
  folder: pathlib.Path
  changes: dict[str, Any]  # key of the config -> value, as sweep() has it
  commands: tuple[Argv, ...]  # without the interpreter

  @property
  def done(self) -> pathlib.Path:
    """Is there once all commands have succeeded."""
    return self.folder / 'done'

  @property
  def line(self) -> str:
    """All of it as shell; does nothing where it is done."""
    parts = [shlex.join(('python', *argv)) for argv in self.commands]
    parts.append(shlex.join(('touch', str(self.done))))
    return f'test -e {shlex.quote(str(self.done))} || ({" && ".join(parts)})'


def define_flags() -> None:
  """Not at import, so that one process can import several commands."""
  flags.DEFINE_string('workdir', None, 'Folder of the sweep.', required=True)
  flags.DEFINE_bool('dry_run', False, 'Print a line of shell for each point.')
  flags.DEFINE_integer('parallel', 1, 'Points at a time.', lower_bound=1)
  flags.DEFINE_list('points', None, 'Their names; default: all.')


def main() -> None:
  args = flags.FLAGS
  command.config()  # what is wrong with it is said before a point is
  file, workdir = command.config_file(), pathlib.Path(args.workdir)
  ablation = runpy.run_path(file)
  for name in ('sweep', 'runs', 'FIGURES'):
    if name not in ablation:
      raise UserError(
        f'{file} has no {name}; see configs/ablations/__init__.py'
      )
  points = _chosen(plan(ablation, file, workdir), args.points)
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
  _collect(points, workdir, ablation)
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
    ablation_lib.Row(point.name, point.changes, point.folder)
    for point in points
    if point.done.exists()
  ]
  if rows:
    question = ablation['__doc__'].splitlines()[0]
    print(ablation_lib.write(workdir, question, rows, ablation['FIGURES']))


async def run_points(points: Sequence[Point], parallel: int) -> list[Point]:
  """Runs what is not done, `parallel` at a time; returns what failed.

  Cancelled (by SIGINT or SIGTERM), it stops the commands under way with
  SIGTERM, at which a training saves, and waits for them.
  """
  slots: asyncio.Queue[dict[str, str]] = asyncio.Queue()
  for number in range(parallel):
    slots.put_nowait(_devices(number, parallel))
  failed = []

  async def one(point: Point) -> None:
    slot = await slots.get()
    if not await _run(point, os.environ | slot):
      failed.append(point)
    slots.put_nowait(slot)

  loop, task = asyncio.get_running_loop(), asyncio.current_task()
  loop.add_signal_handler(signal.SIGTERM, task.cancel)
  async with asyncio.TaskGroup() as group:
    for point in points:
      if point.done.exists():
        print(f'{point.name}: done before', flush=True)
      else:
        group.create_task(one(point))
  return failed


async def _run(point: Point, environment: dict[str, str]) -> bool:
  """Whether every command of the point succeeded."""
  start = time.monotonic()
  print(f'{point.name}: started', flush=True)
  with (point.folder / 'log.txt').open('ab') as log:
    for argv in point.commands:
      log.write(f'$ {shlex.join(("python", *argv))}\n'.encode())
      log.flush()
      process = await asyncio.create_subprocess_exec(
        sys.executable,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment,
        start_new_session=True,  # Ctrl-C reaches it through us alone
      )
      try:
        code = await process.wait()
      except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
          process.terminate()
        await process.wait()
        raise
      if code:
        print(f'{point.name}: exit code {code}', flush=True)
        return False
  point.done.touch()
  print(f'{point.name}: {time.monotonic() - start:.0f} s', flush=True)
  return True


def _devices(slot: int, slots: int) -> dict[str, str]:
  """The environment that gives a slot its share of NVIDIA devices."""
  named = os.environ.get('CUDA_VISIBLE_DEVICES')
  found = sorted(pathlib.Path('/dev').glob('nvidia[0-9]*'))
  devices = named.split(',') if named else [str(i) for i in range(len(found))]
  share = len(devices) // slots
  if slots == 1 or not share:
    return {}
  own = devices[slot * share : (slot + 1) * share]
  return {'CUDA_VISIBLE_DEVICES': ','.join(own)}


if __name__ == '__main__':
  define_flags()
  if sys.argv[1:] and not sys.argv[1].startswith('-'):
    sys.argv[1] = f'--config={sys.argv[1]}'
  command.run(main)
