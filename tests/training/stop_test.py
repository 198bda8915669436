import os
import pty
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from cinejax.core.config import MeshConfig
from cinejax.core.sharding import make_mesh
from cinejax.training.stop import StopSignal

# A run over `ssh -tt`: it leads its session, and its terminal disappears.
HUNG_UP = """
import fcntl, signal, sys, termios, time
from cinejax.training.stop import StopSignal
fcntl.ioctl(1, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
with StopSignal() as stop:
  print('ready', flush=True)
  while not stop:
    time.sleep(0.01)
  print('nobody reads this', flush=True)
sys.exit(7)
"""


@pytest.fixture(params=['SIGTERM', 'SIGINT', 'SIGHUP'])
def number(request):
  """A signal that nothing but StopSignal keeps from ending this process."""
  number = getattr(signal, request.param)

  def ends(*_):
    raise KeyboardInterrupt

  # Background jobs of a shell ignore some signals from the start.
  before = signal.signal(number, ends)
  yield number
  signal.signal(number, before)


def test_a_second_signal_acts_as_usual(number):
  with pytest.raises(KeyboardInterrupt), StopSignal() as stop:
    assert not stop
    os.kill(os.getpid(), number)
    assert stop
    os.kill(os.getpid(), number)


def test_a_signal_ignored_under_nohup_stays_ignored():
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    with StopSignal() as stop:
      os.kill(os.getpid(), signal.SIGHUP)
      assert not stop
  finally:
    signal.signal(signal.SIGHUP, before)


def test_a_run_survives_the_end_of_its_terminal():
  ours, theirs = pty.openpty()
  process = subprocess.Popen(
    [sys.executable, '-c', HUNG_UP],
    stdin=subprocess.DEVNULL,
    stdout=theirs,
    stderr=theirs,
    start_new_session=True,
  )
  os.close(theirs)
  try:
    with os.fdopen(ours, 'rb') as terminal:
      assert terminal.readline() == b'ready\r\n'
    assert process.wait(timeout=60) == 7
  finally:
    process.kill()
    process.wait()


def test_all_processes_learn_of_a_signal_to_one(monkeypatch):
  mesh = make_mesh(MeshConfig(2, 2, 2, 1))
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  stop = StopSignal()
  before = stop.anywhere(mesh)
  stop._received = True
  after = stop.anywhere(mesh)
  assert (before(), after()) == (False, True)

  def other(shape, sharding, _):  # the last device belongs to another process
    came = np.array([0] * (mesh.size - 1) + [1], np.int32)
    return jax.device_put(came, sharding)

  monkeypatch.setattr(jax, 'make_array_from_callback', other)
  assert StopSignal().anywhere(mesh)()
