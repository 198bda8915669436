"""What one device does in a compiled program, from its text: products of
matrices, and what it says to others.

A loop's body counts as often as the loop runs, where the compiler knows it;
of a conditional every branch counts. Bytes are those of the larger of what
goes in and what comes out on one device, once a call, all arrays of a call
together: what a link carries depends on the algorithm, by a factor of about
one to two.

The TPU's compiler has ways of its own. A reduce-scatter is a fusion named
`all-reduce-scatter`, around an all-reduce. A collective that runs beside
products is repeated in the fusion that starts it, in those that take it
further, and in the one that ends it; it is one call, at its start. And what is
gathered along several axes of a torus may be summed instead, each device
giving zeros where the others have something: that is an all-reduce here, since
it is what runs.
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
_OPERATION = re.compile(
  r'^\s+(ROOT )?%?([\w.\-]+) = (.+?) ([a-z][\w\-]*)'
  r'\(((?:[^()]|\([^()]*\))*)\)(.*)'
)
_OPERAND = re.compile(r'%?([\w.\-]+)(?:, |$)')
_CALLED = re.compile(
  r'(body|condition|calls|to_apply|true_computation|false_computation|'
  r'branch_computations|called_computations|async_computation)='
  r'(?:%?([\w.\-]+)|\{([^}]*)\})'
)
_CONDITION = re.compile(r'condition=%?([\w.\-]+)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_SHAPE = re.compile(r'([a-z]\w*)\[([\d,]*)\]')
_CONTRACTED = re.compile(r'lhs_contracting_dims=\{([\d,]*)\}')
_BITS = {'pred': 8, 'token': 0, 's4': 4, 'u4': 4}


@dataclasses.dataclass
class Traffic:
  """Of one kind of collective, in one run of the program, on one device."""

  calls: int = 0
  bytes: int = 0


@dataclasses.dataclass(frozen=True)
class _Operation:
  root: bool
  shape: str  # of what it makes: an array, or a tuple of them
  code: str  # such as all-gather-start
  given: str  # between its brackets
  rest: str  # attributes

  @property
  def operands(self) -> list[str]:
    return _OPERAND.findall(self.given)


_Block = dict[str, _Operation]  # by name, as they run


def collectives(text: str) -> dict[str, Traffic]:
  """Traffic by kind, of a program in the text of `Compiled.as_text()`."""
  found: dict[str, Traffic] = collections.defaultdict(Traffic)
  blocks, entry = _blocks(text)
  further = {name for name, block in blocks.items() if _goes_on(name, block)}
  for times, name, operation in _operations(blocks, entry):
    kind = operation.code.removesuffix('-start')
    if kind not in KINDS or name in further:
      continue
    moved = _moved(operation, blocks[name])
    if name.startswith('all-reduce-scatter'):
      kind = 'reduce-scatter'
    found[kind].calls += times
    found[kind].bytes += times * moved
  return dict(sorted(found.items()))


def products(text: str) -> int:
  """Floating point operations of matrix products, 2 (rows)(columns)(inner).

  Only of compilers that write them as such, as that for CPUs does: others
  call kernels.
  """
  found = 0
  blocks, entry = _blocks(text)
  for times, name, operation in _operations(blocks, entry):
    axes = _CONTRACTED.search(operation.rest)
    if operation.code != 'dot' or axes is None:
      continue
    left = _dims(blocks[name][operation.operands[0]].shape)
    inner = [left[int(axis)] for axis in axes[1].split(',') if axis]
    found += times * 2 * math.prod(_dims(operation.shape)) * math.prod(inner)
  return found


def _moved(operation: _Operation, block: _Block) -> int:
  """Bytes; a gather alone gives out more than it takes."""
  taken = sum(
    _bytes(block[name].shape) for name in operation.operands if name in block
  )
  if not operation.code.startswith('all-gather'):
    return taken
  made = _bytes(operation.shape)
  # the tuple of a start repeats what it takes
  return made - taken if operation.code.endswith('-start') else made


def _goes_on(name: str, block: _Block) -> bool:
  """Whether what it says to others was begun in another fusion."""
  return name.startswith('async_collective_fusion') or any(
    'custom_call_target="AsyncCollectiveDone"' in operation.rest
    for operation in block.values()
  )


def _operations(
  blocks: dict[str, _Block], entry: str
) -> Iterator[tuple[int, str, _Operation]]:
  """(how often it runs, its block's name, it) of each operation."""

  def visit(name: str, times: int) -> Iterator[tuple[int, str, _Operation]]:
    for operation in blocks.get(name, {}).values():
      yield times, name, operation
      kind = operation.code.removesuffix('-start')
      if kind in (*KINDS, 'async-update', 'async-done'):
        continue  # what it calls adds numbers up, or was begun before
      trips = _trips(operation, blocks) if operation.code == 'while' else 1
      for called in _called(operation):
        yield from visit(called, times * trips)

  return visit(entry, 1)


def _trips(loop: _Operation, blocks: dict[str, _Block]) -> int:
  """How often a loop runs, or 1.

  The TPU's compiler does not say; but a scan counts from 0 to a constant.
  """
  if known := _TRIPS.search(loop.rest):
    return int(known[1])
  condition = _CONDITION.search(loop.rest)
  block = blocks.get(condition[1], {}) if condition else {}
  ends = [
    int(operation.given)
    for operation in block.values()
    if operation.code == 'constant' and operation.shape.startswith('s32[]')
  ]
  below = any(
    operation.root and 'direction=LT' in operation.rest
    for operation in block.values()
  )
  return ends[0] if below and len(ends) == 1 else 1


def _blocks(text: str) -> tuple[dict[str, _Block], str]:
  """Each computation by name, and the name of the first to run."""
  blocks: dict[str, _Block] = {}
  entry = name = ''
  for line in text.splitlines():
    head = _HEAD.match(line)
    if head and not line.startswith('HloModule'):
      name = head[2]
      blocks[name] = {}
      entry = name if head[1] else entry
    elif name and (match := _OPERATION.match(line)):
      root, called, *parts = match.groups()
      blocks[name][called] = _Operation(root is not None, *parts)
  return blocks, entry


def _called(operation: _Operation) -> Iterator[str]:
  for match in _CALLED.finditer(operation.rest):
    names = match[2] or match[3]
    yield from (name.strip().lstrip('%') for name in names.split(','))


def _dims(shape: str) -> list[int]:
  match = _SHAPE.match(shape)
  return [int(n) for n in match[2].split(',') if n] if match else []


def _bytes(shapes: str) -> int:
  """Of all arrays named."""
  return sum(
    math.prod(int(n) for n in dims.split(',') if n) * _bits(kind) // 8
    for kind, dims in _SHAPE.findall(shapes)
  )


def _bits(kind: str) -> int:
  if kind in _BITS:
    return _BITS[kind]
  width = re.search(r'\d+', kind)
  return int(width[0]) if width else 32
