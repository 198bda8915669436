"""Files that appear whole or not at all."""

import contextlib
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator
from typing import Any

from cinejax.core.errors import UserError

_ADDRESS = re.compile(r'\w\w+:/')  # such as gs://, and what Path makes of it


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a path beside `path` to write; renames it there on success.

  The suffix is kept, so that writers which choose a format by suffix work.
  On an exception the partial file is removed and `path` stays as it was.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  handle, name = tempfile.mkstemp(
    dir=path.parent, prefix='.partial-', suffix=path.suffix
  )
  os.close(handle)
  partial = pathlib.Path(name)
  try:
    yield partial
    partial.chmod(0o644)
    os.replace(partial, path)
  finally:
    partial.unlink(missing_ok=True)


def append_line(path: str | os.PathLike, line: str) -> None:
  """Adds a line to a small file, which is made if it is not there."""
  path = pathlib.Path(path)
  before = path.read_text() if path.exists() else ''
  with atomic_path(path) as partial:
    partial.write_text(f'{before}{line}\n')


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """The object that a JSON file holds, {} if there is no such file.

  Raises UserError where the file is broken or holds something else.
  """
  try:
    found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except (FileNotFoundError, NotADirectoryError):
    return {}
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read ({error}); mend it or remove it'
    ) from error
  if not isinstance(found, dict):
    raise UserError(f'{path} holds no JSON object; mend it or remove it')
  return found


def check_file(path: str | os.PathLike) -> None:
  """Raises UserError where no file can be written as `path`."""
  path = pathlib.Path(path)
  if path.is_dir():
    raise UserError(f'{path} is a folder; name a file to write to')
  check_folder(path.parent)


def check_folder(path: str | os.PathLike) -> pathlib.Path:
  """`path` as a folder that can be written to; makes nothing.

  Raises UserError where it, or what it would be made in, cannot be.
  """
  if _ADDRESS.match(os.fspath(path)):
    raise UserError(f'{path} is an address; mount it, and name the folder')
  path = pathlib.Path(path)
  # os.path, because Path.exists raises below a folder that is not ours
  nearest = next(filter(os.path.exists, (path, *path.absolute().parents)))
  if not nearest.is_dir():
    raise UserError(f'{path}: {nearest} is a file; name a folder to write to')
  if not os.access(nearest, os.W_OK | os.X_OK):
    raise UserError(f'{path}: {nearest} cannot be written to; name another')
  return path
