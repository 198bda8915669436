"""What a person watching sees: a bar on a terminal, elsewhere plain lines."""

import datetime
import math

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cinejax.training.metrics import Row


class Watch:
  """Shows loss, steps a second and time left of one stage."""

  def __init__(self, name: str, step: int, steps: int, show: bool):
    self._name, self._steps = name, steps
    self._curves: dict[str, list[float]] = {}
    self._console = Console(quiet=not show)
    self._bar = Progress(
      TextColumn('{task.description}'),
      BarColumn(),
      MofNCompleteColumn(),
      TextColumn('{task.fields[note]}'),
      console=self._console,
      disable=not self._console.is_terminal,
    )
    self._task = self._bar.add_task(name, total=steps, completed=step, note='')

  def advance(self, step: int) -> None:
    self._bar.update(self._task, completed=step)

  def report(self, step: int, row: Row) -> None:
    """A new figure; a line of its own where there is no terminal."""
    left = datetime.timedelta(seconds=round(row['secs_left']))
    loss, rate = row.get('loss', math.nan), row['steps_per_sec']
    note = f'loss {loss:.4f}, {rate:.3g} steps/s, {left} left'
    self._bar.update(self._task, note=note)
    if not self._console.is_terminal:
      self._console.print(
        f'{self._name} {step}/{self._steps}: {note}',
        highlight=False,
        soft_wrap=True,
      )

  def report_recall(self, step: int, row: Row) -> None:
    """Prints what the model remembers, and the curve of it so far."""
    figures = []
    for kind in ('continued', 'near', 'far', 'new'):
      value = row.get(f'recall/{kind}_exact')
      if value is not None:
        curve = self._curves.setdefault(kind, [])
        curve.append(value)
        figures.append(f'{kind} {value:.0%} {_sparkline(curve)}')
    self._console.print(
      f'{self._name} {step}/{self._steps}: appearance right: '
      + ', '.join(figures),
      highlight=False,
      soft_wrap=True,
    )

  def __enter__(self) -> 'Watch':
    self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.stop()


def _sparkline(shares: list[float]) -> str:
  """The last twenty of shares in [0, 1], each as a bar of eight heights."""
  bars = '▁▂▃▄▅▆▇█'
  return ''.join(bars[min(7, int(8 * share))] for share in shares[-20:])
