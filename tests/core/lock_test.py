import os
import subprocess
import sys

import pytest

from cinejax.core.errors import UserError
from cinejax.core.lock import lock_folder

HOLD = """
import pathlib, sys, time
from cinejax.core.lock import lock_folder
lock_folder(pathlib.Path(sys.argv[1]), '--workdir')
print('locked', flush=True)
time.sleep(600)
"""


def test_a_folder_belongs_to_one_process_until_it_is_killed(tmp_path):
  folder = tmp_path / 'new'
  holder = subprocess.Popen(
    [sys.executable, '-c', HOLD, str(folder)], stdout=subprocess.PIPE
  )
  try:
    assert holder.stdout.readline() == b'locked\n'
    with pytest.raises(UserError, match='new is in use by another process'):
      lock_folder(folder, '--workdir')
  finally:
    holder.kill()
    holder.wait()
    holder.stdout.close()
  os.close(lock_folder(folder, '--workdir'))
  assert not list(folder.iterdir())
