"""Append-only files of JSON lines, each on the disk when `append` returns.

A process may be killed at any moment, and the machine may lose its power: every
line that `append` has written is read back, and at most the line that was being
written is lost. Half a line at the end is therefore no error. An unreadable
line before the last one is, because then the file was changed by something
else.
"""

import errno
import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from cinejax.core.disk import disk_errors
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path

Record = dict[str, Any]  # the JSON object of a line


class JournalText(NamedTuple):
  """What a file holds."""

  records: list[Record]
  length: int  # bytes of its whole lines
  dropped: int  # bytes of a half-written last line, which is no record


class JournalFile:
  """Appends to one file, which is created with its first records."""

  def __init__(self, path: pathlib.Path, length: int = 0):
    """A file whose first `length` bytes are whole lines; the rest is cut off.

    With length 0 there is no file yet.
    """
    self._path, self._length = path, length
    self._file: int | None = None

  @property
  def exists(self) -> bool:
    """Whether the file holds any record."""
    return self._length > 0

  def append(self, records: Sequence[Record]) -> None:
    """Appends records, of which all are on the disk when it returns.

    The first records are written together, all or none. Raises UserError if
    the disk fails; the file is then as it was before.
    """
    lines = (json.dumps(one, ensure_ascii=False) for one in records)
    data = ''.join(f'{line}\n' for line in lines).encode()
    with disk_errors(self._path):
      if not self._length:
        self._create(data)
      else:
        self._write(data)
    self._length += len(data)

  def close(self) -> None:
    """Closes the file; a later `append` opens it again."""
    if self._file is not None:
      os.close(self._file)
      self._file = None

  def _create(self, data: bytes) -> None:
    with atomic_path(self._path) as partial, partial.open('wb') as file:
      file.write(data)
      file.flush()
      os.fsync(file.fileno())
    folder = os.open(self._path.parent, os.O_RDONLY)
    try:
      os.fsync(folder)  # so that the name is on the disk as well
    finally:
      os.close(folder)

  def _write(self, data: bytes) -> None:
    if self._file is None:
      self._file = os.open(self._path, os.O_WRONLY)
      os.ftruncate(self._file, self._length)
    try:
      if os.pwrite(self._file, data, self._length) < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
      os.fsync(self._file)
    except OSError:
      os.ftruncate(self._file, self._length)
      raise


def read(path: pathlib.Path) -> JournalText:
  """Reads a file of JSON lines.

  Raises UserError if it cannot be read, or if a line other than a half-written
  last one is no JSON object.
  """
  try:
    data = path.read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}') from error
  *lines, rest = data.split(b'\n')
  records, length = [], 0
  for number, line in enumerate(lines, 1):
    try:
      record = json.loads(line)
    except ValueError:
      record = None
    if not isinstance(record, dict):
      raise UserError(
        f'{path}: line {number} is no record of a film; the file was changed, '
        'so restore it from a copy'
      )
    records.append(record)
    length += len(line) + 1
  return JournalText(records, length, len(rest))
