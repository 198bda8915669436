"""Standard input as a source of directions, at a terminal or from a pipe."""

import os
import queue
import sys
import threading
from collections.abc import Callable

from cinejax.core.errors import UserError
from cinejax.film.directions import Directions


def directions(cut_prefix: str, check: Callable[[str], None]) -> Directions:
  """Those that standard input gives, of prompts that pass `check`.

  At a terminal a film rolls on while nobody types, and a slip is told and
  skipped. A pipe is read as fast as its lines are used up, so that the same
  lines always make the same film, and its slip ends the film.
  """
  if sys.stdin is None:  # closed by who started us
    raise UserError('--live reads standard input, which is closed; open it')
  if not sys.stdin.isatty():
    # Nobody may be there to see that a line was skipped, and the lines after
    # it are meant to follow it. What has been made need not be lost for that.
    return Directions(_standard_input(typed=False), cut_prefix, None, check)
  print(
    'type a prompt, `cut: ` before it for a new shot; Ctrl-D ends the film',
    file=sys.stderr,
  )
  return Directions(_standard_input(typed=True), cut_prefix, _complain, check)


def _standard_input(typed: bool) -> Callable[[bool], str | None]:
  """-> next_line(wait), as `film.directions.Directions` asks for it."""
  lines: queue.Queue[bytes | None] = queue.Queue()
  # our own, since Python cannot end while a thread waits on that of sys.stdin
  file = os.fdopen(os.dup(sys.stdin.fileno()), 'rb')

  def read() -> None:
    try:
      with file:
        for line in file:
          if line.strip():
            lines.put(line)
    finally:
      lines.put(None)  # who waits for a line must not wait for ever

  threading.Thread(target=read, daemon=True).start()

  def next_line(wait: bool) -> str | None:
    try:
      line = lines.get(block=wait or not typed)
    except queue.Empty:
      return ''
    return None if line is None else _decoded(line)

  return next_line


def _decoded(line: bytes) -> str:
  # by the line, and strictly whatever the locale: a byte that is let through
  # cannot be written into the screenplay
  try:
    return line.decode(sys.stdin.encoding)
  except UnicodeDecodeError as error:
    raise UserError(
      f'{line.strip()!r} is not {error.encoding} text; type it again, or '
      'convert what is piped'
    ) from error


def _complain(error: UserError) -> None:
  print(error, file=sys.stderr)
