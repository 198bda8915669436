"""Traces a window of updates with the profiler of JAX."""

import pathlib
import re

import jax

from cinejax.core.errors import UserError


class Profile:
  """Traces updates `first` to `last` into `folder`, for XProf or TensorBoard.

  `window` is 'first:last', counted from 1; '' traces nothing.
  """

  def __init__(self, window: str, folder: pathlib.Path):
    self._folder, self._on = folder, False
    match = re.fullmatch(r'(\d+):(\d+)', window)
    if window and (match is None or not 1 <= int(match[1]) <= int(match[2])):
      raise UserError(
        f'--profile={window} is not FIRST:LAST, two updates such as 10:12'
      )
    self._first, self._last = (
      (int(match[1]), int(match[2])) if match else (0, -1)
    )

  def before(self, step: int) -> None:
    """Starts the trace if `step`, which is dispatched next, is the first."""
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._on = True

  def after(self, step: int, result: object) -> None:
    """Ends the trace if `step`, just dispatched, is the last.

    Waits for `result`, the arrays of that update.
    """
    if self._on and step == self._last:
      jax.block_until_ready(result)
      self.close()

  def close(self) -> None:
    """Ends the trace if the run ends within the window."""
    if self._on:
      jax.profiler.stop_trace()
      self._on = False
