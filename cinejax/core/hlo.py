"""What one device does in a compiled program, from its text: products of
matrices, and what it says to others.

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
_CONDITION = re.compile(r'condition=%?([\w.\-]+)')
_END = re.compile(r'^\s+%?[\w.\-]+ = s32\[\]\S* constant\((\d+)\)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\]')
_DOT = re.compile(
  r' dot\((?:\w+\[\S+ )?%?([\w.\-]+).*lhs_contracting_dims=\{([\d,]*)\}'
)
_BITS = {'pred': 8, 'token': 0, 's4': 4, 'u4': 4}


@dataclasses.dataclass
class Traffic:
  """Of one kind of collective, in one run of the program, on one device."""

  calls: int = 0
  bytes: int = 0


def collectives(text: str) -> dict[str, Traffic]:
  """Traffic by kind, of a program in the text of `Compiled.as_text()`."""
  found: dict[str, Traffic] = collections.defaultdict(Traffic)
  for times, operation, _ in _operations(text):
    kind = operation[2].removesuffix('-start')
    if kind in KINDS:
      found[kind].calls += times
      found[kind].bytes += times * _bytes(operation[1])
  return dict(sorted(found.items()))


def products(text: str) -> int:
  """Floating point operations of matrix products, 2 (rows)(columns)(inner).

  Only of compilers that write them as such, as that for CPUs does: others
  call kernels.
  """
  found = 0
  for times, operation, block in _operations(text):
    dot = _DOT.search(operation.string) if operation[2] == 'dot' else None
    if dot is None:
      continue
    left = _shape_of(dot[1], block)
    inner = [left[int(axis)] for axis in dot[2].split(',') if axis]
    found += times * 2 * math.prod(_dims(operation[1])) * math.prod(inner)
  return found


def _operations(
  text: str,
) -> Iterator[tuple[int, re.Match[str], list[str]]]:
  """(how often it runs, its match, the lines around it) of each operation."""
  blocks, entry = _blocks(text)

  def visit(
    name: str, times: int
  ) -> Iterator[tuple[int, re.Match[str], list[str]]]:
    for line in blocks.get(name, ()):
      operation = _OPERATION.match(line)
      if operation is None:
        continue
      yield times, operation, blocks[name]
      if operation[2].removesuffix('-start') in KINDS:
        continue  # what it calls adds numbers up
      trips = _trips(line, blocks) if operation[2] == 'while' else 1
      for called in _called(line):
        yield from visit(called, times * trips)

  return visit(entry, 1)


def _trips(line: str, blocks: dict[str, list[str]]) -> int:
  """How often a loop runs, or 1.

  The TPU's compiler does not say; but a scan counts from 0 to a constant.
  """
  if known := _TRIPS.search(line):
    return int(known[1])
  condition = _CONDITION.search(line)
  block = blocks.get(condition[1], []) if condition else []
  ends = [int(end[1]) for line in block if (end := _END.match(line))]
  below = any('ROOT' in line and 'direction=LT' in line for line in block)
  return ends[0] if below and len(ends) == 1 else 1


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


def _shape_of(name: str, block: list[str]) -> list[int]:
  """Of what is called `name` in the block."""
  defined = re.compile(rf'^\s+(?:ROOT )?%?{re.escape(name)} = (\S+)')
  (match,) = (found for line in block if (found := defined.match(line)))
  return _dims(match[1])


def _dims(shape: str) -> list[int]:
  match = _SHAPE.match(shape)
  return [int(n) for n in match[2].split(',') if n] if match else []


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
