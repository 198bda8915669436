"""Reads directions from standard input, at a terminal or from a pipe."""

import collections
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterable

from cinejax.core.errors import UserError
from cinejax.film.directions import Directions


class LineReader:
  """Reads lines on a thread, and hands them out one by one."""

  def __init__(self, unread: Iterable[str] = ()):
    """Reads standard input after the lines `unread`.

    Raises UserError if standard input is closed.
    """
    if sys.stdin is None:  # closed by the parent process
      raise UserError('--live reads standard input, which is closed; open it')
    self.typed = sys.stdin.isatty()
    self.used = 0  # lines that were handed out, without faulty bytes
    self.arrived: list[str] = list(unread)  # lines in all
    self._lines: collections.deque[str | UserError] = collections.deque(unread)
    self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    self._ended = self._stopped = False
    # A copy, because Python cannot exit while a thread reads sys.stdin itself.
    file = os.fdopen(os.dup(sys.stdin.fileno()), 'rb')
    threading.Thread(target=self._read, args=(file,), daemon=True).start()

  def next_line(self, wait: bool) -> str | None:
    """See film.directions.Directions."""
    self._fetch(not self._lines and (wait or not self.typed))
    if self._stopped:
      return None
    if not self._lines:
      return None if self._ended else ''
    line = self._lines.popleft()
    if isinstance(line, UserError):
      raise line
    self.used += 1
    return line

  def stop(self) -> None:
    """Ends the input, from any thread or from a signal handler."""
    self._stopped = True
    self._queue.put(None)

  @property
  def stopped(self) -> bool:
    return self._stopped

  def _fetch(self, block: bool) -> None:
    """Takes what has arrived; waits for a line or for the end if `block`."""
    while not self._ended:
      try:
        line = self._queue.get(block)
      except queue.Empty:
        return
      block = False
      if line is None:
        self._ended = True
        return
      try:
        text = _decoded(line)
      except UserError as error:
        self._lines.append(error)
      else:
        self._lines.append(text)
        self.arrived.append(text)

  def _read(self, file) -> None:
    try:
      with file:
        for line in file:
          if line.strip():
            self._queue.put(line)
    finally:
      self._queue.put(None)  # so that no reader waits for ever


def directions(
  reader: LineReader, cut_prefix: str, check: Callable[[str], None]
) -> Directions:
  """The directions of standard input.

  At a terminal the film continues while nobody types, and a faulty line is
  reported and skipped. A pipe is read as its lines are used up, so that the
  same lines always generate the same film; a faulty line ends it.

  Args:
    reader: of standard input.
    cut_prefix: put before the prompt of the first chunk of a new shot.
    check: raises UserError for a prompt that the model cannot follow.
  """
  if not reader.typed:
    # Nobody might see that a line was skipped, and the later lines are meant
    # to follow it. The film up to that line is written all the same.
    return Directions(reader.next_line, cut_prefix, None, check)
  print(
    'type a prompt, `cut: ` before it for a new shot; Ctrl-D ends the film',
    file=sys.stderr,
  )
  return Directions(reader.next_line, cut_prefix, _print_error, check)


def _decoded(line: bytes) -> str:
  # Line by line, and strictly in every locale, because bytes that are no text
  # could not be written into the screenplay.
  try:
    return line.decode(sys.stdin.encoding)
  except UnicodeDecodeError as error:
    raise UserError(
      f'{line.strip()!r} is not {error.encoding} text; type it again, or '
      'convert the input'
    ) from error


def _print_error(error: UserError) -> None:
  print(error, file=sys.stderr)
