"""Tables beside a data set of films: named arrays in safetensors files.

Files are written atomically and never changed, so that several writers can work
at once and an interrupted one can continue.
"""

import pathlib
from collections.abc import Mapping

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path


def write(path: pathlib.Path, rows: Mapping[str, np.ndarray]) -> None:
  """Writes a file of a table, in float16.

  Args:
    path: the file to write.
    rows: name -> floating-point array.
  """
  stored = {
    name: np.ascontiguousarray(row, np.float16) for name, row in rows.items()
  }
  with atomic_path(path) as partial:
    save_file(stored, partial)


def open_files(folder: pathlib.Path, writer: str) -> dict[str, safe_open]:
  """The file that holds each name.

  Args:
    folder: of the table.
    writer: the module that writes it, for errors.

  Raises:
    UserError: a file is broken.
  """
  file_of = {}
  for path in sorted(folder.glob('*.safetensors')):
    try:
      file = safe_open(path, 'np')
    except (SafetensorError, OSError) as error:
      raise UserError(
        f'{path} is not a whole safetensors file ({error}); delete it, and run '
        f'python -m {writer} again'
      ) from error
    file_of |= dict.fromkeys(file.keys(), file)
  return file_of
