"""Stops training cleanly when any of its processes gets a signal.

The first SIGTERM (a preemption notice), SIGINT or SIGHUP (the terminal or the
connection is gone) is noted; the second acts as usual. Processes that train
together must end after the same update, so each contributes a number that says
whether it got a signal, and the devices compute the largest. That computation
is dispatched before an update and read while the update runs, so that the host
waits only for the update before.
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
  """Training stopped after a signal, with its state saved.

  The message is one sentence for the user.
  """


class StopSignal:
  """Notes SIGTERM, SIGINT and SIGHUP within its context; true after one came.

  A SIGHUP that is ignored, as under nohup, stays ignored.
  """

  def __init__(self) -> None:
    self._received = False
    self._handlers: dict[int, Any] = {}

  def __bool__(self) -> bool:
    return self._received

  def __enter__(self) -> 'StopSignal':
    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
      numbers.append(signal.SIGHUP)
    for number in numbers:
      self._handlers[number] = signal.signal(number, self._note)
    return self

  def __exit__(self, *_: object) -> None:
    for number, handler in self._handlers.items():
      signal.signal(number, handler)

  def anywhere(self, mesh: Mesh) -> Callable[[], bool]:
    """Starts to find out whether a signal came to any process.

    All processes must call this at the same point, and all get the same answer.

    Args:
      mesh: devices of all processes.

    Returns:
      A function that returns the answer. It waits until the devices have done
      what was dispatched before. A single process also notices signals that
      came after this call.
    """
    if jax.process_count() == 1:
      return lambda: self._received
    split = NamedSharding(mesh, P(mesh.axis_names))
    own = np.array([self._received], np.int32)
    flags = jax.make_array_from_callback((mesh.size,), split, lambda _: own)
    largest = _largest(flags)
    return lambda: bool(largest)

  def _note(self, number: int, _: object) -> None:
    self._received = True
    self.__exit__()
    if number == signal.SIGHUP:
      _mute()


_largest = jax.jit(jnp.max)


def _mute() -> None:
  """Discards output to a terminal that is gone, which would be an error."""
  nowhere = os.open(os.devnull, os.O_WRONLY)
  for number in (1, 2):
    device = stat.S_ISCHR(os.fstat(number).st_mode)
    if device and not os.isatty(number):
      os.dup2(nowhere, number)
  os.close(nowhere)
