"""Notes to the user on stderr, each of them once in a process."""

import functools
import sys


@functools.lru_cache(maxsize=4096)
def note(sentence: str) -> None:
  """Prints `note: <sentence>` on stderr, unless it was printed before."""
  print(f'note: {sentence}', file=sys.stderr)
