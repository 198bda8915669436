"""Shows the progress of training: a bar on a terminal, lines elsewhere."""

import datetime
import math

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from cinejax.training.metrics import Row


class ProgressDisplay:
  """Shows the loss, the steps per second and the time left of one stage.

  Args:
    name: of the stage, and of its phase.
    step: updates done.
    steps: the last update.
    show: whether to print anything; False on all but the first process.
  """

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
    """Moves the bar to `step` updates."""
    self._bar.update(self._task, completed=step)

  def report(self, step: int, row: Row) -> None:
    """Shows a row of metrics beside the bar, or as a line."""
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
    """Prints the recall of each kind of chunk, and its history as a curve."""
    shares = []
    for kind in ('continued', 'near', 'far', 'new'):
      value = row.get(f'recall/{kind}_exact')
      if value is not None:
        curve = self._curves.setdefault(kind, [])
        curve.append(value)
        shares.append(f'{kind} {value:.0%} {_sparkline(curve)}')
    self._console.print(
      f'{self._name} {step}/{self._steps}: appearance right: '
      + ', '.join(shares),
      highlight=False,
      soft_wrap=True,
    )

  def __enter__(self) -> 'ProgressDisplay':
    self._bar.start()
    return self

  def __exit__(self, *_: object) -> None:
    self._bar.stop()


def _sparkline(shares: list[float]) -> str:
  """The last twenty of `shares`, in [0, 1], as bars of eight heights."""
  bars = '▁▂▃▄▅▆▇█'
  return ''.join(bars[min(7, int(8 * share))] for share in shares[-20:])
