import subprocess
import sys

import pytest

from cinejax.core.errors import UserError
from cinejax.film import journal_file
from cinejax.film.journal_file import JournalFile
from tests.disks import full_disks

RECORDS = [{'film': 1, 'seed': 3}, {'say': 'Zoë\n'}, {'chunk': 0}]


def _write(path, records=RECORDS):
  file = JournalFile(path)
  for record in records:
    file.append([record])
  file.close()


def test_every_beginning_of_a_file_holds_its_whole_lines(tmp_path):
  path = tmp_path / 'film.journal'
  _write(path)
  data = path.read_bytes()
  ends = [n + 1 for n, byte in enumerate(data) if byte == ord('\n')]
  for size in range(len(data) + 1):
    path.write_bytes(data[:size])
    text = journal_file.read(path)
    count = sum(end <= size for end in ends)
    assert text.records == RECORDS[:count]
    assert text.length + text.dropped == size
    if count:  # and the file continues after them
      JournalFile(path, text.length).append([{'next': True}])
      again = journal_file.read(path)
      assert again.records == [*RECORDS[:count], {'next': True}]
      assert not again.dropped


WRITE = """
import pathlib, sys
from cinejax.film.journal_file import JournalFile
file = JournalFile(pathlib.Path(sys.argv[1]))
for n in range(10**6):
  file.append([{'n': n, 'text': 'x' * (n % 700)}])
  print(n, flush=True)
"""


@pytest.mark.parametrize('lines', [1, 40, 300])
def test_kill_9_loses_no_line(tmp_path, lines):
  path = tmp_path / 'film.journal'
  line = [sys.executable, '-c', WRITE, str(path)]
  writer = subprocess.Popen(line, stdout=subprocess.PIPE, text=True)
  written = [writer.stdout.readline() for _ in range(lines)]
  writer.kill()
  written += writer.stdout.readlines()
  writer.stdout.close()
  assert writer.wait() == -9
  written = [one for one in written if one.endswith('\n')]
  numbers = [record['n'] for record in journal_file.read(path).records]
  assert numbers == list(range(len(numbers)))
  assert len(numbers) >= len(written) >= lines


def test_a_line_of_something_else_is_an_error(tmp_path):
  path = tmp_path / 'film.journal'
  path.write_bytes(b'{"film": 1}\nnonsense\n{"chunk": 0}\n')
  with pytest.raises(UserError, match='line 2 is no record'):
    journal_file.read(path)
  with pytest.raises(UserError, match='cannot be read: No such file'):
    journal_file.read(tmp_path / 'none')


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
  path = tmp_path / 'film.journal'
  _write(path, RECORDS[:2])
  file = JournalFile(path, path.stat().st_size)
  for _ in full_disks(monkeypatch):
    with pytest.raises(UserError, match='cannot be written: the disk is full'):
      file.append(RECORDS[2:])
    assert journal_file.read(path).records == RECORDS[:2]
  file.append(RECORDS[2:])
  assert journal_file.read(path).records == RECORDS
