"""Reading and writing files; every write is atomic."""

import contextlib
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from cinejax.core.disk import disk_errors
from cinejax.core.errors import UserError

_ADDRESS = re.compile(r'\w\w+:/')  # gs://…, which pathlib turns into gs:/…


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
  """Yields a temporary path beside `path`; renames it to `path` on success.

  The temporary path has the suffix of `path`, for writers that choose a format
  by suffix. On an exception the partial file is removed, and `path` stays as
  it was.

  Raises UserError if the disk fails (core/disk.py).
  """
  path = pathlib.Path(path)
  with disk_errors(path):
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
      with contextlib.suppress(OSError):  # of a disk that failed before
        partial.unlink(missing_ok=True)


def append_line(path: str | os.PathLike, line: str) -> None:
  """Appends a line to a small file, which is created if it does not exist."""
  path = pathlib.Path(path)
  before = path.read_text() if path.exists() else ''
  with atomic_path(path) as partial:
    partial.write_text(f'{before}{line}\n')


def read_json(path: str | os.PathLike) -> dict[str, Any]:
  """The object that a JSON file holds, or {} if there is no such file.

  Raises UserError if the file cannot be read or holds no JSON object.
  """
  try:
    found = json.loads(pathlib.Path(path).read_text(encoding='utf-8'))
  except (FileNotFoundError, NotADirectoryError):
    return {}
  except (OSError, ValueError) as error:
    raise UserError(
      f'{path} cannot be read ({error}); repair it or remove it'
    ) from error
  if not isinstance(found, dict):
    raise UserError(f'{path} holds no JSON object; repair it or remove it')
  return found


def write_json(path: str | os.PathLike, value: Any) -> None:
  """Writes `value` as indented JSON, with each list of numbers on one line.

  Raises ValueError if `value` holds a number that is not finite.
  """
  text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
  # JSON escapes line breaks in strings, so these are between items.
  text = re.sub(r'\[\n[^][{}]*\]', _one_line, text)
  with atomic_path(path) as partial:
    partial.write_text(text + '\n', encoding='utf-8')


def write_or_compare(
  path: str | os.PathLike, settings: Mapping[str, Any]
) -> tuple[str, Any, Any] | None:
  """Writes settings to a new JSON file, or compares them with an old one.

  A folder that holds results of one kind is protected in this way from results
  of another.

  Returns:
    None if the file is new or equals `settings`; otherwise the first
    difference: the dotted key, the value in the file and that in `settings`,
    each None where it is missing.

  Raises UserError if the file cannot be read.
  """
  now, before = json.loads(json.dumps(settings)), read_json(path)
  if not before:
    write_json(path, now)
    return None
  old, new = dict(_leaves(before)), dict(_leaves(now))
  for key in [*old, *new]:
    if old.get(key) != new.get(key):
      return key, old.get(key), new.get(key)
  return None


def check_file(path: str | os.PathLike) -> None:
  """Raises UserError if no file can be written at `path`."""
  path = pathlib.Path(path)
  if path.is_dir():
    raise UserError(f'{path} is a folder; name a file to write to')
  check_folder(path.parent)


def check_folder(path: str | os.PathLike) -> pathlib.Path:
  """Checks that `path` is, or can become, a folder to write to.

  Returns `path`; nothing is created. Raises UserError if the folder, or the
  nearest folder above it that exists, cannot be written to.
  """
  if _ADDRESS.match(os.fspath(path)):
    raise UserError(f'{path} is an address; mount it and name the local folder')
  path = pathlib.Path(path)
  # os.path, because Path.exists raises below a folder that cannot be read
  nearest = next(filter(os.path.exists, (path, *path.absolute().parents)))
  if not nearest.is_dir():
    raise UserError(f'{path}: {nearest} is a file; name a folder to write to')
  if not os.access(nearest, os.W_OK | os.X_OK):
    raise UserError(f'{path}: {nearest} cannot be written to; name another')
  return path


def _one_line(match: re.Match) -> str:
  items = re.sub(r'\n *', ' ', match[0][1:-1]).strip()
  return f'[{items}]'


def _leaves(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
  """The values in nested objects, by dotted key."""
  if not isinstance(node, dict):
    yield path, node
    return
  for key, value in node.items():
    yield from _leaves(value, f'{path}.{key}' if path else key)
