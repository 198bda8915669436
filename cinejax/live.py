"""Standard input as a source of directions, at a terminal or from a pipe."""

import queue
import sys
import threading
from collections.abc import Callable

from cinejax.core.errors import UserError


def standard_input() -> Callable[[bool], str | None]:
  """-> next_line(wait), as `film.directions.Directions` asks for it.

  At a terminal a film rolls on while nobody types; a pipe is read as fast as
  its lines are used up, so that the same lines always make the same film.
  """
  lines: queue.Queue[str | None] = queue.Queue()
  typed = sys.stdin.isatty()

  def read() -> None:
    for line in sys.stdin:
      if line.strip():
        lines.put(line)
    lines.put(None)

  threading.Thread(target=read, daemon=True).start()
  if typed:
    print(
      'type a prompt, `cut: ` before it for a new shot; Ctrl-D ends the film',
      file=sys.stderr,
    )

  def next_line(wait: bool) -> str | None:
    try:
      return lines.get(block=wait or not typed)
    except queue.Empty:
      return ''

  return next_line


def complain(error: UserError) -> None:
  """A slip is told to who types; a pipe has to be right."""
  if not sys.stdin.isatty():
    raise error
  print(error, file=sys.stderr)
