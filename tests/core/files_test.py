import json
import os

import pytest

from cinejax.core.errors import UserError
from cinejax.core.files import (
  append_line,
  atomic_path,
  check_file,
  check_folder,
  read_json,
  write_json,
  write_or_compare,
)


def test_a_file_is_whole_or_not_there(tmp_path):
  with pytest.raises(ZeroDivisionError):
    with atomic_path(tmp_path / 'a' / 'x.txt') as path:
      path.write_text('half')
      raise ZeroDivisionError
  assert list((tmp_path / 'a').iterdir()) == []
  with atomic_path(tmp_path / 'x.txt') as path:
    path.write_text('whole')
  assert (tmp_path / 'x.txt').read_text() == 'whole'


def test_a_folder_is_no_address():
  for check in (check_folder, check_file):
    with pytest.raises(UserError, match=r'gs:/.* is an address'):
      check('gs://films/run')


def test_a_folder_is_checked_and_not_made(tmp_path):
  assert check_folder(tmp_path / 'a' / 'b') == tmp_path / 'a' / 'b'
  assert check_folder(tmp_path) == tmp_path
  assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path):
  (tmp_path / 'x').touch()
  for path in (tmp_path / 'x', tmp_path / 'x' / 'y'):
    with pytest.raises(UserError, match=f'{tmp_path}/x is a file'):
      check_folder(path)


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'access', lambda *_: False)  # root may do anything
  with pytest.raises(UserError, match=f'{tmp_path} cannot be written to'):
    check_folder(tmp_path / 'a')


def test_a_folder_that_cannot_be_read(tmp_path, monkeypatch):
  monkeypatch.setattr(os, 'access', lambda *_: False)
  stat = os.stat

  def guarded(path, **kwargs):
    if str(path).endswith('mine'):
      raise PermissionError(13, 'Permission denied')
    return stat(path, **kwargs)

  monkeypatch.setattr(os, 'stat', guarded)
  with pytest.raises(UserError, match=f'{tmp_path} cannot be written to'):
    check_folder(tmp_path / 'mine')


def test_a_json_object_is_read_or_refused(tmp_path):
  path = tmp_path / 'a.json'
  assert read_json(path) == {}
  path.write_text('{"a": [1]}')
  assert read_json(path) == {'a': [1]} and read_json(path / 'b') == {}
  for text in ('{"a"', '[1]', '3', ''):
    path.write_text(text)
    with pytest.raises(UserError, match=r'a\.json .* repair it or remove it'):
      read_json(path)
  path.write_bytes(b'\xff')
  with pytest.raises(UserError, match='cannot be read'):
    read_json(path)


def test_lines_are_added(tmp_path):
  path = tmp_path / 'rows' / 'a.jsonl'
  for line in ('1', '2'):
    append_line(path, line)
  assert path.read_text() == '1\n2\n'


def test_a_file_to_write_is_not_a_folder_nor_in_a_file(tmp_path):
  check_file(tmp_path / 'a' / 'b.jsonl')
  with pytest.raises(UserError, match='is a folder; name a file'):
    check_file(tmp_path)
  (tmp_path / 'x').touch()
  check_file(tmp_path / 'x')
  with pytest.raises(UserError, match='x is a file'):
    check_file(tmp_path / 'x' / 'y.jsonl')


def test_lists_of_numbers_take_one_line(tmp_path):
  value = {'a': [[1, 2], [3, -1]], 'b': ['x  [ y', 'ü'], 'c': [], 'd': [{}]}
  write_json(tmp_path / 'a.json', value)
  text = (tmp_path / 'a.json').read_text()
  assert '[1, 2]' in text and json.loads(text) == value


def test_settings_are_written_once_and_then_compared(tmp_path):
  path = tmp_path / 'settings.json'
  settings = {'config': {'steps': 4, 'patch': (1, 2)}, 'codec': 'x'}
  assert write_or_compare(path, settings) is None
  assert write_or_compare(path, dict(reversed(settings.items()))) is None
  other = settings | {'config': {'steps': 2, 'patch': (1, 2)}}
  assert write_or_compare(path, other) == ('config.steps', 4, 2)
  assert write_or_compare(path, {}) == ('config.steps', 4, None)
  assert read_json(path)['config']['patch'] == [1, 2]
