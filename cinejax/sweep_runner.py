"""Points of a sweep, each a few commands in a folder, run k at a time.

In a point's folder appear `log.txt`, what its commands say; `seconds.json`,
what each has taken; and at the end `done`. A point that has `done` is not run
again; others start with their first command, which goes on where it was if it
is a training or an evaluation.
"""

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from cinejax.core.files import atomic_path, read_json

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
      begun = time.monotonic()
      try:
        code = await process.wait()
      except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
          process.terminate()
        await process.wait()
        raise
      finally:
        _add_seconds(point.folder, argv[1], time.monotonic() - begun)
      if code:
        print(f'{point.name}: exit code {code}', flush=True)
        return False
  point.done.touch()
  print(f'{point.name}: {time.monotonic() - start:.0f} s', flush=True)
  return True


def _add_seconds(folder: pathlib.Path, module: str, secs: float) -> None:
  """To what the module's commands have taken so far, stopped ones included."""
  path = folder / 'seconds.json'
  spent = read_json(path)
  spent[module] = round(spent.get(module, 0.0) + secs, 1)
  with atomic_path(path) as partial:
    partial.write_text(json.dumps(spent) + '\n')


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
