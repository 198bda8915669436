"""Counts products, collectives and kernels in the text of a compiled program.

All counts are for one device. The body of a loop counts as often as the loop
runs, if the compiler knows that; every branch of a conditional counts. The
bytes of a collective are those of its operands or its results on one device,
whichever is larger, for all arrays of a call together. What a link carries
depends on the algorithm, by a factor of about one to two.

The TPU compiler has some peculiarities. A reduce-scatter is a fusion named
`all-reduce-scatter` around an all-reduce. A collective that overlaps with
computation is repeated in the fusion that starts it, in those that continue it
and in the one that ends it; it counts as one call, where it starts. A gather
along several axes of a torus may be replaced by a sum to which each device
contributes zeros in place of the parts of others; it counts as an all-reduce,
because that is what runs.

A kernel is an operation outside of fusions that does more than name or group
arrays. It reads its operands and writes its results once. Of an array that it
only slices it reads the slices, and of one that it updates in place it writes
the update. Arrays that a TPU holds in its vector memory, and the workspace of a
library's kernel, do not count. Sizes are those of shapes, without the padding
of tiles.
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
_ON_CHIP = re.compile(r'[a-z]\w*\[[\d,]*\]\{[^{}]*T\([^{}]*S\(1\)[^{}]*\}')
_WORKSPACE = re.compile(r'[su]8\[\d+\]')
_SLICES = ('slice', 'dynamic-slice', 'gather')
_UPDATES = {'dynamic-update-slice': 1, 'scatter': 2}  # operand that is written
_VIEWS = ('bitcast', 'reshape', 'get-tuple-element')
_CALLERS = ('while', 'conditional', 'call', 'async-start')
_NO_KERNEL = {*_CALLERS, *_VIEWS, 'replica-id', 'partition-id'} | set(
  'parameter constant tuple after-all opt-barrier'.split()
)


@dataclasses.dataclass
class Traffic:
  """Collectives of one kind, in one run of the program on one device."""

  calls: int = 0
  bytes: int = 0


@dataclasses.dataclass(frozen=True)
class _Operation:
  root: bool
  shape: str  # of the result: an array, or a tuple of arrays
  code: str  # such as all-gather-start
  given: str  # the text between its parentheses
  rest: str  # attributes

  @property
  def operands(self) -> list[str]:
    return _OPERAND.findall(self.given)


_Block = dict[str, _Operation]  # by name, in order of execution


def collectives(text: str) -> dict[str, Traffic]:
  """The traffic of each kind of collective in the text `Compiled.as_text()`."""
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

  This is for the CPU compiler, which writes products as `dot`; others call
  kernels, which are not counted.
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


def kernels(text: str) -> Traffic:
  """Kernels that one run starts, and the bytes that they read and write."""
  found = Traffic()
  blocks, entry = _blocks(text)
  for times, name, operation in _operations(blocks, entry, _CALLERS):
    code = operation.code
    if code in _NO_KERNEL or code.endswith(('-done', '-update')):
      continue
    found.calls += times
    found.bytes += times * _read_and_written(operation, blocks[name], blocks)
  return found


def _read_and_written(
  operation: _Operation, block: _Block, blocks: dict[str, _Block]
) -> int:
  """Bytes that a kernel moves from and to the memory of the device."""
  if operation.code == 'fusion':
    (name,) = _called(operation)
    inner = blocks[name]
  else:  # as a fusion of this operation alone
    inner = {
      name: _Operation(False, block[name].shape, 'parameter', str(i), '')
      for i, name in enumerate(operation.operands)
      if name in block
    }
    inner[''] = dataclasses.replace(operation, root=True)
  users: dict[str, list[tuple[str, int]]] = collections.defaultdict(list)
  for name, used in inner.items():
    for place, operand in enumerate(used.operands):
      users[operand].append((name, place))

  def read(name: str, size: int) -> int:
    taken = 0
    for user, place in users[name]:
      code, shape = inner[user].code, inner[user].shape
      if code in _VIEWS:
        taken += read(user, size)
      elif code in _SLICES and place == 0:
        taken += read(user, _stored(shape)) if users[user] else _stored(shape)
      elif code not in _UPDATES or place:
        taken += size
    return min(size, taken)

  def written(name: str) -> int:
    result = inner[name]
    if result.code == 'tuple':
      return sum(map(written, result.operands))
    if result.code == 'bitcast':
      return written(result.operands[0])
    if result.code in _UPDATES:
      return _stored(inner[result.operands[_UPDATES[result.code]]].shape)
    shape = result.shape
    if result.code == 'custom-call':
      shape = _WORKSPACE.sub('', shape)
    # what is passed on unchanged is not written
    return _stored(shape) if result.code != 'parameter' else 0

  return sum(
    read(name, _stored(x.shape))
    for name, x in inner.items()
    if x.code == 'parameter'
  ) + sum(written(name) for name, x in inner.items() if x.root)


def _stored(shapes: str) -> int:
  """Bytes of the arrays in a shape that are in the memory of the device."""
  return _bytes(_ON_CHIP.sub('', shapes))


def _moved(operation: _Operation, block: _Block) -> int:
  """Bytes of a call; only a gather has results larger than its operands."""
  taken = sum(
    _bytes(block[name].shape) for name in operation.operands if name in block
  )
  if not operation.code.startswith('all-gather'):
    return taken
  result = _bytes(operation.shape)
  # The result of a start operation includes its operands.
  return result - taken if operation.code.endswith('-start') else result


def _goes_on(name: str, block: _Block) -> bool:
  """Whether a fusion continues a collective that another fusion started."""
  return name.startswith('async_collective_fusion') or any(
    'custom_call_target="AsyncCollectiveDone"' in operation.rest
    for operation in block.values()
  )


def _operations(
  blocks: dict[str, _Block], entry: str, callers: tuple[str, ...] | None = None
) -> Iterator[tuple[int, str, _Operation]]:
  """Yields (times it runs, name of its block, operation) of all operations.

  With `callers`, only those that operations with these codes call, and not, for
  example, those inside fusions.
  """

  def visit(name: str, times: int) -> Iterator[tuple[int, str, _Operation]]:
    for operation in blocks.get(name, {}).values():
      yield times, name, operation
      kind = operation.code.removesuffix('-start')
      if kind in (*KINDS, 'async-update', 'async-done'):
        continue  # it calls a reduction, or continues an earlier operation
      if callers is not None and operation.code not in callers:
        continue
      trips = _trips(operation, blocks) if operation.code == 'while' else 1
      for called in _called(operation):
        yield from visit(called, times * trips)

  return visit(entry, 1)


def _trips(loop: _Operation, blocks: dict[str, _Block]) -> int:
  """How often a loop runs; 1 if that is not known.

  The TPU compiler does not write it, but a scan counts from 0 to a constant.
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
  """All computations by name, and the name of the entry computation."""
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
  """Bytes of all arrays in a shape."""
  return sum(
    math.prod(int(n) for n in dims.split(',') if n) * _bits(kind) // 8
    for kind, dims in _SHAPE.findall(shapes)
  )


def _bits(kind: str) -> int:
  if kind in _BITS:
    return _BITS[kind]
  width = re.search(r'\d+', kind)
  return int(width[0]) if width else 32
