"""Memory, compilations, and the device and versions of a run."""

import contextlib
import importlib.metadata
import os
import resource
import sys
from collections.abc import Iterator
from typing import Any

import jax

_COMPILED = '/jax/core/compile/backend_compile_duration'
_RSS_BYTES = 1 if sys.platform == 'darwin' else 1024  # unit of ru_maxrss


def environment() -> dict[str, Any]:
  """Device and versions, which every measurement records."""
  return {
    'device': jax.devices()[0].device_kind,
    'devices': jax.device_count(),
    'host_cpus': os.cpu_count(),
    **versions(),
  }


def versions() -> dict[str, str]:
  """Versions of cinejax, jax and jaxlib; `source` of one not installed."""
  return {name: _version(name) for name in ('cinejax', 'jax', 'jaxlib')}


def _version(package: str) -> str:
  try:
    return importlib.metadata.version(package)
  except importlib.metadata.PackageNotFoundError:
    return 'source'  # run from a checkout


def peak_memory(
  executable: jax.stages.Compiled | None = None,
) -> dict[str, int | str]:
  """`peak_memory_bytes` and `peak_memory_of`, which says what was measured.

  device      bytes allocated on the first device since the process began
  executable  arguments + results - aliases + temporaries per device, according
              to the compiler, if the device does not count
  process     resident memory of the whole process, if there is no executable
              either
  """
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'peak_bytes_in_use' in stats:
    return _peak(stats['peak_bytes_in_use'], 'device')
  analysis = executable.memory_analysis() if executable else None
  if analysis is not None:
    held = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
    held += analysis.temp_size_in_bytes - analysis.alias_size_in_bytes
    return _peak(held, 'executable')
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return _peak(usage.ru_maxrss * _RSS_BYTES, 'process')


def tree_bytes(tree: Any) -> int:
  """Bytes of all arrays in a tree."""
  return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


class CompileCounter:
  """Counts the programs that were compiled or read from the cache."""

  count = 0

  def note(self, event: str, *_: object, **__: object) -> None:
    self.count += event == _COMPILED


@contextlib.contextmanager
def count_compiles() -> Iterator[CompileCounter]:
  """Counts compilations within the `with` block."""
  counter = CompileCounter()
  jax.monitoring.register_event_duration_secs_listener(counter.note)
  try:
    yield counter
  finally:
    jax.monitoring.unregister_event_duration_listener(counter.note)


def _peak(count: int, of: str) -> dict[str, int | str]:
  return {'peak_memory_bytes': int(count), 'peak_memory_of': of}
