"""Exports: one after another, with progress, and cancelled at any moment."""

import io
import threading
import zipfile

import numpy as np
import pytest
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.film import media
from cinejax.serving.exports import ExportQueue
from cinejax.serving.registry import CapacityError, NotFoundError
from tests.serving.sessions import until, wait_for_chunks


@pytest.fixture
def queue(studio, tmp_path):
  queue = ExportQueue(studio.registry, tmp_path / 'exports')
  yield queue
  queue.close()
  assert not (tmp_path / 'exports').exists()


@pytest.fixture
def film(studio, session):
  with pytest.raises(NotFoundError, match='no frames yet'):
    studio.exports.add(studio.registry.sessions[session], 'mp4')
  studio.direct(session, {'do': 'prompt', 'prompt': 'a'})
  wait_for_chunks(studio, session, 2)
  studio.direct(session, {'do': 'pause'})
  live = studio.registry.sessions[session]
  until(lambda: not live.live_film.chunk_in_flight)
  return live


def test_both_formats_hold_every_frame(queue, film, tmp_path):
  exports = [queue.add(film, kind) for kind in ('png', 'mp4')]
  for export in exports:
    assert export.ended.wait(500) and export.status == 'done', export.error
    assert export.to_json()['share'] == 1
  frames = list(film.live_film.frames())
  with zipfile.ZipFile(exports[0].path) as archive:
    names = archive.namelist()
    assert names == sorted(names) and len(names) == len(frames)
    for name, frame_YXC in zip(names, frames, strict=True):
      image = Image.open(io.BytesIO(archive.read(name)))
      np.testing.assert_array_equal(np.asarray(image), frame_YXC)
  assert media.probe(exports[1].path).frames == len(frames)


def test_what_nobody_wants_any_more_holds_nothing_up(queue, film, monkeypatch):
  go, begun = threading.Event(), threading.Event()

  def slowly(live_film):
    for number in range(3):
      yield np.full((16, 16, 3), number, np.uint8)
      begun.set()
      go.wait(500)

  monkeypatch.setattr(type(film.live_film), 'frames', slowly)
  running, waiting, last = (queue.add(film, 'png') for _ in range(3))
  assert begun.wait(500)
  assert [one['status'] for one in queue.entries()] == [
    'running',
    'queued',
    'queued',
  ]
  assert running.to_json()['share'] < 1
  with pytest.raises(NotFoundError, match='is running'):
    queue.open(running.id)
  for export in (running, waiting):
    queue.cancel(export.id)
  go.set()
  assert last.ended.wait(500) and last.status == 'done'
  assert [one['id'] for one in queue.entries()] == [last.id]
  assert [path for path in last.path.parent.iterdir()] == [last.path]
  with pytest.raises(NotFoundError, match='no such export'):
    queue.find(running.id)


def test_there_is_a_limit_and_an_error_ends_one_export(
  queue, film, monkeypatch
):
  go = threading.Event()

  def fail(live_film):
    go.wait(500)
    raise OSError('the disk is full')

  monkeypatch.setattr(type(film.live_film), 'frames', fail)
  most = queue._registry.cfg.exports
  exports = [queue.add(film, 'mp4') for _ in range(most)]
  with pytest.raises(CapacityError, match='are waiting to be written'):
    queue.add(film, 'mp4')
  go.set()
  for export in exports:
    assert export.ended.wait(500) and export.status == 'failed'
    assert 'the disk is full' in export.to_json()['error']
  monkeypatch.undo()
  good = queue.add(film, 'png')
  assert good.ended.wait(500) and good.status == 'done'
  until(lambda: len(queue.entries()) == most)  # the oldest was dropped
  with pytest.raises(UserError, match='no format avi'):
    queue.add(film, 'avi')


def test_a_file_that_is_dropped_is_sent_whole_or_not_at_all(
  queue, film, studio, monkeypatch
):
  def drop(exports):
    for _ in range(exports._registry.cfg.exports):
      assert exports.add(film, 'png').ended.wait(500)

  export = queue.add(film, 'mp4')
  assert export.ended.wait(500)
  whole = export.path.read_bytes()
  _, file = queue.open(export.id)
  drop(queue)
  until(lambda: not export.path.exists())
  with file:
    assert file.read() == whole
  with pytest.raises(NotFoundError, match='may have been dropped'):
    queue.open(export.id)

  add = studio.exports.add

  class Late(threading.Event):
    """Wakes the thread of the client after other films have been written."""

    def wait(self, timeout=None):
      assert super().wait(500)
      monkeypatch.undo()
      drop(studio.exports)

  def late(session, kind):
    export = add(session, kind)
    export.ended = Late()
    return export

  assert studio.video(film.name)[4:8] == b'ftyp'
  monkeypatch.setattr(studio.exports, 'add', late)
  with pytest.raises(NotFoundError, match='may have been dropped'):
    studio.video(film.name)
  for one in studio.exports.entries():
    studio.exports.cancel(one['id'])
