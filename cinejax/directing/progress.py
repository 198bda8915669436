"""The progress bar of a film that is generated; only terminals show it."""

import contextlib

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class ChunkProgress(contextlib.AbstractContextManager):
  """Counts the chunks of a film on standard error."""

  def __init__(self, total: int | None):
    """`total` is the number of chunks, None if it is unknown."""
    console = Console(stderr=True)
    self._bar = Progress(
      TextColumn('directing'),
      BarColumn(),
      MofNCompleteColumn(),
      TextColumn('chunks {task.fields[note]}'),
      console=console,
      disable=not console.is_terminal,
    )
    self._task = self._bar.add_task('', total=total, note='')

  def __enter__(self) -> 'ChunkProgress':
    self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.stop()

  def advance(self, pixel_fps: float | None) -> None:
    """Counts a chunk; `pixel_fps` is the speed so far, None if unknown."""
    note = f'{pixel_fps:.3g} fps' if pixel_fps else ''
    self._bar.update(self._task, advance=1, note=note)
