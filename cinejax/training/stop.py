"""Being told to stop, by a signal to any of several processes.

SIGTERM (a preemption notice), SIGINT and SIGHUP (the terminal, or the
connection, is gone) are noted; a second one acts as usual. Processes that
train together must end together: each says in a number whether it was told,
and the devices, which all take part in an update anyhow, find the largest. It
is given to them before an update and read while that one runs, so the host
waits for no more than the update before it.
"""

import os
import signal
import stat
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


class Stopped(Exception):
  """The run was asked to stop, and has saved: one sentence."""


class StopSignal:
  """True once SIGTERM, SIGINT or SIGHUP has come.

  A SIGHUP that is ignored, as under nohup, stays so.
  """

  def __init__(self) -> None:
    self._came = False
    self._usual: dict[int, Any] = {}

  def __bool__(self) -> bool:
    return self._came

  def __enter__(self) -> 'StopSignal':
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
      numbers.append(signal.SIGHUP)
    for number in numbers:
      self._usual[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._usual.items():
      signal.signal(number, handler)

  def anywhere(self, mesh: Mesh) -> Callable[[], bool]:
    """Asks whether it has come to any process; what it gives has the answer.

    All processes ask at the same place, and all learn the same. The answer is
    there when the devices of `mesh` have done what they were given before the
    question. A process that is alone sees also what has come since.
    """
    if jax.process_count() == 1:
      return lambda: self._came
    split = NamedSharding(mesh, P(mesh.axis_names))
    came = np.array([self._came], np.int32)
    told = jax.make_array_from_callback((mesh.size,), split, lambda _: came)
    most = _largest(told)
    return lambda: bool(most)

  def _note(self, number: int, _: object) -> None:
    self._came = True
    self.__exit__()
    if number == signal.SIGHUP:
      _mute()


_largest = jax.jit(jnp.max)


def _mute() -> None:
  """Drops what is written to a terminal that is gone: it would be an error."""
  nowhere = os.open(os.devnull, os.O_WRONLY)
  for number in (1, 2):
    device = stat.S_ISCHR(os.fstat(number).st_mode)
    if device and not os.isatty(number):
      os.dup2(nowhere, number)
  os.close(nowhere)
