"""Reads directions from standard input, at a terminal or from a pipe."""

import os
import queue
import sys
import threading
from collections.abc import Callable

from cinejax.core.errors import UserError
from cinejax.film.directions import Directions


def directions(cut_prefix: str, check: Callable[[str], None]) -> Directions:
  """The directions of standard input.

  At a terminal the film continues while nobody types, and a faulty line is
  reported and skipped. A pipe is read as its lines are used up, so that the
  same lines always generate the same film; a faulty line ends it.

  Args:
    cut_prefix: put before the prompt of the first chunk of a new shot.
    check: raises UserError for a prompt that the model cannot follow.
  """
  if sys.stdin is None:  # closed by the parent process
    raise UserError('--live reads standard input, which is closed; open it')
  if not sys.stdin.isatty():
    # Nobody might see that a line was skipped, and the later lines are meant
    # to follow it. The film up to that line is written all the same.
    return Directions(_standard_input(typed=False), cut_prefix, None, check)
  print(
    'type a prompt, `cut: ` before it for a new shot; Ctrl-D ends the film',
    file=sys.stderr,
  )
  return Directions(
    _standard_input(typed=True), cut_prefix, _print_error, check
  )


def _standard_input(typed: bool) -> Callable[[bool], str | None]:
  """Makes the `next_line` of film.directions.Directions."""
  lines: queue.Queue[bytes | None] = queue.Queue()
  # A copy, because Python cannot exit while a thread reads sys.stdin itself.
  file = os.fdopen(os.dup(sys.stdin.fileno()), 'rb')

  def read() -> None:
    try:
      with file:
        for line in file:
          if line.strip():
            lines.put(line)
    finally:
      lines.put(None)  # so that no reader waits for ever

  threading.Thread(target=read, daemon=True).start()

  def next_line(wait: bool) -> str | None:
    try:
      line = lines.get(block=wait or not typed)
    except queue.Empty:
      return ''
    return None if line is None else _decoded(line)

  return next_line


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
