"""Puts a table from standard input between its marks in a Markdown page.

  … | python launch/into_docs.py docs/pods.md plans

replaces what is between `<!-- plans -->` and `<!-- /plans -->` there.
"""

import pathlib
import re
import sys


def put(text: str, mark: str, table: str) -> str:
  """`text` with `table` between the marks; ValueError if there are none."""
  text, found = re.subn(
    f'(<!-- {mark} -->\n).*?(<!-- /{mark} -->)',
    lambda match: f'{match[1]}{table}{match[2]}',
    text,
    flags=re.DOTALL,
  )
  if found != 1:
    raise ValueError(f'the page has no marks <!-- {mark} -->, or several')
  return text


if __name__ == '__main__':
  page = pathlib.Path(sys.argv[1])
  page.write_text(put(page.read_text(), sys.argv[2], sys.stdin.read()))
