"""What devices say to one another in a compiled program, from its text.

A loop's body counts as often as the loop runs, where the compiler knows it;
of a conditional every branch counts. Bytes are those of the larger of what
goes in and what comes out on one device, once a call: what a link carries
depends on the algorithm, by a factor of about one to two.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator

KINDS = (
  'all-gather',
  'all-reduce',
  'reduce-scatter',
  'all-to-all',
  'ragged-all-to-all',
  'collective-permute',
  'collective-broadcast',
)
_HEAD = re.compile(r'^(ENTRY )?%?([\w.\-]+) (?:\(.*)?\{?.*\{$')
_OPERATION = re.compile(r'^\s+(?:ROOT )?%?[\w.\-]+ = (.+?) ([a-z][\w\-]*)\(')
_CALLED = re.compile(
  r'(body|condition|calls|to_apply|true_computation|false_computation|'
  r'branch_computations|called_computations|async_computation)='
  r'(?:%?([\w.\-]+)|\{([^}]*)\})'
)
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\]')
_BITS = {'pred': 8, 'token': 0, 's4': 4, 'u4': 4}


@dataclasses.dataclass
class Traffic:
  """Of one kind of collective, in one run of the program, on one device."""

  calls: int = 0
  bytes: int = 0


def collectives(text: str) -> dict[str, Traffic]:
  """Traffic by kind, of a program in the text of `Compiled.as_text()`."""
  blocks, entry = _blocks(text)
  found: dict[str, Traffic] = collections.defaultdict(Traffic)

  def visit(name: str, times: int) -> None:
    for line in blocks.get(name, ()):
      operation = _OPERATION.match(line)
      if operation is None:
        continue
      kind = operation[2].removesuffix('-start')
      if kind in KINDS:
        found[kind].calls += times
        found[kind].bytes += times * _bytes(operation[1])
        continue
      trips = _TRIPS.search(line) if kind == 'while' else None
      for called in _called(line):
        visit(called, times * int(trips[1]) if trips else times)

  visit(entry, 1)
  return dict(sorted(found.items()))


def _blocks(text: str) -> tuple[dict[str, list[str]], str]:
  """Lines of each computation by name, and the name of the first to run."""
  blocks: dict[str, list[str]] = {}
  entry = name = ''
  for line in text.splitlines():
    head = _HEAD.match(line)
    if head and not line.startswith('HloModule'):
      name = head[2]
      blocks[name] = []
      entry = name if head[1] else entry
    elif name and line.startswith(' '):
      blocks[name].append(line)
  return blocks, entry


def _called(line: str) -> Iterator[str]:
  for match in _CALLED.finditer(line):
    names = match[2] or match[3]
    yield from (name.strip().lstrip('%') for name in names.split(','))


def _bytes(shapes: str) -> int:
  """The largest array named: a start's tuple repeats what goes in and out."""
  sizes = [
    math.prod(int(n) for n in dims.split(',') if n) * _bits(kind) // 8
    for kind, dims in _SHAPE.findall(shapes)
  ]
  return max(sizes, default=0)


def _bits(kind: str) -> int:
  if kind in _BITS:
    return _BITS[kind]
  width = re.search(r'\d+', kind)
  return int(width[0]) if width else 32
