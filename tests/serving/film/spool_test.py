import contextlib
import gc
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinejax.core.errors import UserError
from cinejax.serving.film.spool import FrameSpool
from tests.disks import full_disks

SHAPE = (2, 1, 3, 1)


def _chunk(rng):
  latents = rng.standard_normal(SHAPE, np.float32)
  return latents, [rng.bytes(int(rng.integers(0, 40))) for _ in range(2)]


def _is(spool, chunks):
  """Whether it holds these chunks, by all ways of reading."""
  assert len(spool) == len(chunks) and spool.frames == 2 * len(chunks)
  for number, (latents, thumbnails) in enumerate(chunks):
    got, pictures = spool.chunk(number)
    np.testing.assert_array_equal(got, latents)
    assert pictures == thumbnails
    assert [spool.thumbnail(2 * number + n) for n in range(2)] == thumbnails
  whole = np.array([latents for latents, _ in chunks]).reshape(-1, *SHAPE)
  np.testing.assert_array_equal(spool.latents(), whole)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_spool_is_a_list_of_chunks(steps):
  rng, spool, chunks = np.random.default_rng(0), FrameSpool(SHAPE), []
  path = []  # the stored chunks that the film consists of
  for step in steps:
    if step < 2 and chunks:  # back, and on from there
      stays = len(chunks) * step // 2
      del chunks[stays:], path[stays:]
      assert spool.select(path) == stays
    else:
      path.append(spool.stored)
      chunks.append(_chunk(rng))
      spool.append(*chunks[-1])
  _is(spool, chunks)


def test_a_full_disk_keeps_what_was_there(monkeypatch):
  rng, spool = np.random.default_rng(0), FrameSpool(SHAPE)
  chunks = [_chunk(rng), _chunk(rng)]
  spool.append(*chunks[0])
  for _ in full_disks(monkeypatch):
    with pytest.raises(UserError, match='cannot be written: the disk is full'):
      spool.append(*chunks[1])
    _is(spool, chunks[:1])
  spool.append(*chunks[1])
  _is(spool, chunks)


def test_a_spool_leaves_no_file(tmp_path):
  if not os.path.isdir('/proc/self/fd'):
    pytest.skip('open files are read from /proc')
  spool = FrameSpool(SHAPE, tmp_path)
  spool.append(*_chunk(np.random.default_rng(0)))
  assert not list(tmp_path.iterdir())
  assert len(_open_files(tmp_path)) == 1
  del spool
  gc.collect()
  assert not _open_files(tmp_path)


def _open_files(folder):
  """The files of this process in a folder, deleted ones too."""
  links = []
  for entry in os.scandir('/proc/self/fd'):
    with contextlib.suppress(FileNotFoundError):
      links.append(os.readlink(entry.path))
  return [link for link in links if link.startswith(str(folder))]
