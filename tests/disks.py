"""Disks that are full, for tests of files that are appended to."""

import errno
import os


def full_disks(monkeypatch):
  """Yields while os.pwrite fails, then while it writes five bytes at most."""
  write = os.pwrite

  def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  for full in (fail, lambda file, data, at: write(file, data[:5], at)):
    with monkeypatch.context() as patch:
      patch.setattr(os, 'pwrite', full)
      yield
