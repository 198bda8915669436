"""Failures of a disk, in words."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from cinejax.core.errors import UserError

_SPACE = 'free some space'
_FOLDER = 'name another folder'
_MOUNT = 'see whether its disk is mounted'

# What an error number means for a file that is written, and what to do.
_FAILURES = {
  errno.ENOSPC: ('the disk is full', _SPACE),
  errno.EDQUOT: ('the quota of the disk is used up', _SPACE),
  errno.EFBIG: ('the file is larger than is allowed', _FOLDER),
  errno.EROFS: ('the disk is read-only', _FOLDER),
  errno.EACCES: ('the folder is read-only', _FOLDER),
  errno.EPERM: ('the folder is read-only', _FOLDER),
  errno.ENOENT: ('its folder has vanished', _MOUNT),
  errno.ENOTDIR: ('its folder has vanished', _MOUNT),
  errno.ESTALE: ('its folder has vanished', _MOUNT),
  errno.ENODEV: ('its disk has vanished', _MOUNT),
  errno.ENXIO: ('its disk has vanished', _MOUNT),
  errno.ENOTCONN: ('its disk does not answer', _MOUNT),
  errno.EHOSTDOWN: ('its disk does not answer', _MOUNT),
  errno.EIO: ('the disk reports an error', _FOLDER),
  errno.EISDIR: ('there is a folder of that name', 'name another file'),
  errno.ENAMETOOLONG: ('the name is too long', 'name another file'),
}


def failure(
  error: BaseException, path: str | os.PathLike
) -> tuple[str, str] | None:
  """What happened, and what to do, if `error` is a failure to write `path`.

  Libraries raise exceptions of their own, whose message quotes that of the
  operating system. None for other errors, and for those of other files.
  """
  number = getattr(error, 'errno', None)
  if number is None:
    found = (n for n in _FAILURES if os.strerror(n) in str(error))
    number = next(found, None)
  name = getattr(error, 'filename', None)
  if isinstance(name, str) and not _is_beside(name, pathlib.Path(path)):
    return None
  return _FAILURES.get(number)


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
  """While `path` is written, raises failures of the disk as UserErrors."""
  try:
    yield
  except UserError:
    raise
  except Exception as error:  # libraries raise many kinds
    found = failure(error, path)
    if found is None:
      raise
    reason, remedy = found
    raise UserError(f'{path} cannot be written: {reason}; {remedy}') from error


def _is_beside(name: str, path: pathlib.Path) -> bool:
  """Whether `name` is in the folder of `path`, or is a folder above it."""
  named = pathlib.Path(name)
  return named.parent == path.parent or named in path.parents
