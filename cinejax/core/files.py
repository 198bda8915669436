"""Files that appear whole or not at all."""

import contextlib
import os
import pathlib
import tempfile
from collections.abc import Iterator


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
