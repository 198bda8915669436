"""Puts a table, on standard input, between its marks in BUILD.md.

… | python launch/into_build.py MARK    <!-- MARK --> … <!-- /MARK -->
"""

import pathlib
import re
import sys

mark, table = sys.argv[1], sys.stdin.read()
path = pathlib.Path('BUILD.md')
text, found = re.subn(
  f'(<!-- {mark} -->\n).*?(<!-- /{mark} -->)',
  lambda match: f'{match[1]}{table}{match[2]}',
  path.read_text(),
  flags=re.DOTALL,
)
assert found == 1, f'BUILD.md has lost its marks of {mark}'
path.write_text(text)
