"""A window of updates in the profiler's eyes."""

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
    """Update `step` is about to be dispatched."""
    if step == self._first:
      jax.profiler.start_trace(str(self._folder))
      self._on = True

  def after(self, step: int, result: object) -> None:
    """Update `step` was dispatched, with `result`."""
    if self._on and step == self._last:
      jax.block_until_ready(result)
      self.close()

  def close(self) -> None:
    """Ends a window that the run did not see the end of."""
    if self._on:
      jax.profiler.stop_trace()
      self._on = False
