"""A folder that one process at a time may write to."""

import contextlib
import os
import pathlib

from cinejax.core.errors import UserError


def lock_folder(folder: pathlib.Path, flag: str) -> int:
  """Locks a folder, which is created, until the process ends.

  The lock belongs to the process and leaves no file: that of a killed process
  is free at once.

  Args:
    folder: to lock.
    flag: how the error names it, such as --workdir.

  Returns:
    A file descriptor; closing it frees the folder.

  Raises:
    UserError: another process has locked it.
  """
  folder.mkdir(parents=True, exist_ok=True)
  handle = os.open(folder, os.O_RDONLY)
  with contextlib.suppress(ImportError):  # on Windows nothing is locked
    import fcntl

    try:
      fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
      os.close(handle)
      raise UserError(
        f'{flag}={folder} is in use by another process; stop it, or give '
        'another folder'
      ) from error
  return handle
