"""Runs the points of a sweep as processes, several at a time.

A point is a folder and a list of commands. The folder receives `log.txt`, the
output of the commands; `seconds.json`, the seconds that each took; and finally
`done`. A point that has `done` is not run again; others start with their first
command, and training and evaluation continue where they stopped.
"""

import asyncio
import contextlib
import dataclasses
import os
import pathlib
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from cinejax.core.files import read_json, write_json

Argv = tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class SweepPoint:
  """One setting of a sweep and the commands that measure it."""

  name: str
  folder: pathlib.Path
  changes: dict[str, Any]  # key of the config -> value, as sweep() returns it
  commands: tuple[Argv, ...]  # without the interpreter

  @property
  def done_path(self) -> pathlib.Path:
    """A file that exists once all commands have succeeded."""
    return self.folder / 'done'

  @property
  def shell_line(self) -> str:
    """All commands as one line of shell; it does nothing if they are done."""
    done = str(self.done_path)
    parts = [shlex.join(('python', *argv)) for argv in self.commands]
    parts.append(shlex.join(('touch', done)))
    return f'test -e {shlex.quote(done)} || ({" && ".join(parts)})'


@dataclasses.dataclass(frozen=True)
class SweepRunner:
  """Runs `parallel` points at a time; divides NVIDIA devices among them."""

  points: Sequence[SweepPoint]
  parallel: int

  async def run(self) -> list[SweepPoint]:
    """Runs the points that are not done; returns those that failed.

    When cancelled (by SIGINT or SIGTERM), it sends SIGTERM to the running
    commands, on which training saves a checkpoint, and waits for them.
    """
    slots: asyncio.Queue[dict[str, str]] = asyncio.Queue()
    for number in range(self.parallel):
      slots.put_nowait(_devices(number, self.parallel))
    failed = []

    async def run_one(point: SweepPoint) -> None:
      slot = await slots.get()
      if not await _run(point, os.environ | slot):
        failed.append(point)
      slots.put_nowait(slot)

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.TaskGroup() as group:
      for point in self.points:
        if point.done_path.exists():
          print(f'{point.name}: done before', flush=True)
        else:
          group.create_task(run_one(point))
    return failed


async def _run(point: SweepPoint, environment: dict[str, str]) -> bool:
  """Runs the commands of a point; returns whether all succeeded."""
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
        start_new_session=True,  # so that Ctrl-C reaches only the sweep
      )
      command_start = time.monotonic()
      try:
        code = await process.wait()
      except asyncio.CancelledError:
        with contextlib.suppress(ProcessLookupError):
          process.terminate()
        await process.wait()
        raise
      finally:
        _add_seconds(point.folder, argv[1], time.monotonic() - command_start)
      if code:
        print(f'{point.name}: exit code {code}', flush=True)
        return False
  point.done_path.touch()
  print(f'{point.name}: {time.monotonic() - start:.0f} s', flush=True)
  return True


def _add_seconds(folder: pathlib.Path, module: str, secs: float) -> None:
  """Adds to the seconds that a module's commands took, interrupted or not."""
  path = folder / 'seconds.json'
  seconds = read_json(path)
  seconds[module] = round(seconds.get(module, 0.0) + secs, 1)
  write_json(path, seconds)


def _devices(slot: int, slots: int) -> dict[str, str]:
  """Environment variables that give a slot its share of NVIDIA devices."""
  named = os.environ.get('CUDA_VISIBLE_DEVICES')
  found = sorted(pathlib.Path('/dev').glob('nvidia[0-9]*'))
  devices = named.split(',') if named else [str(i) for i in range(len(found))]
  share = len(devices) // slots
  if slots == 1 or not share:
    return {}
  own = devices[slot * share : (slot + 1) * share]
  return {'CUDA_VISIBLE_DEVICES': ','.join(own)}
