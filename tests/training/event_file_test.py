"""What TensorBoard reads of a run."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from cinejax.training.event_file import EventFile


def _events(folder):
  """The events of the only file in `folder`, each between two checksums."""
  (path,) = folder.iterdir()
  data, start = path.read_bytes(), 0
  while start < len(data):
    (length,) = struct.unpack_from('<Q', data, start)
    yield Event.FromString(data[start + 12 : start + 12 + length])
    start += length + 16


def test_rows_are_in_the_file_before_it_is_closed(tmp_path):
  file = EventFile(tmp_path / 'board', first_step=3)
  file.write(3, {'loss': 0.5, 'recall/far_hue': 1.0})
  file.write(4, {'loss': 0.25})
  _, start, *rows = _events(tmp_path / 'board')
  assert start.step == 3 and start.session_log.status == SessionLog.START
  assert [
    (row.step, {value.tag: value.simple_value for value in row.summary.value})
    for row in rows
  ] == [(3, {'loss': 0.5, 'recall/far_hue': 1.0}), (4, {'loss': 0.25})]
  file.close()


def test_a_disk_that_fails_raises(tmp_path):
  with open('/dev/full', 'wb') as full:
    file = EventFile(tmp_path, first_step=0)
    file._events._py_recordio_writer._writer = full
    with pytest.raises(OSError, match='No space left'):
      file.write(1, {'loss': 1.0})
    full.raw.close()
