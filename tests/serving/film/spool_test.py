import errno
import gc
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cinejax.core.errors import UserError
from cinejax.serving.film.spool import Tape

SHAPE = (2, 1, 3, 1)


def _chunk(rng):
  latents = rng.standard_normal(SHAPE, np.float32)
  return latents, [rng.bytes(int(rng.integers(0, 40))) for _ in range(2)]


def _is(tape, chunks):
  """Whether it holds these chunks, by all ways of reading."""
  assert len(tape) == len(chunks) and tape.frames == 2 * len(chunks)
  for number, (latents, stills) in enumerate(chunks):
    got, pictures = tape.chunk(number)
    np.testing.assert_array_equal(got, latents)
    assert pictures == stills
    assert [tape.still(2 * number + n) for n in range(2)] == stills
  whole = np.array([latents for latents, _ in chunks]).reshape(-1, *SHAPE)
  np.testing.assert_array_equal(tape.latents(), whole)


@given(st.lists(st.integers(0, 9), max_size=20))
def test_a_tape_is_a_list_of_chunks(steps):
  rng, tape, chunks = np.random.default_rng(0), Tape(SHAPE), []
  for step in steps:
    if step < 2 and chunks:  # back, and on from there
      stays = len(chunks) * step // 2
      tape.cut(stays)
      del chunks[stays:]
    else:
      chunks.append(_chunk(rng))
      tape.append(*chunks[-1])
  _is(tape, chunks)


def test_a_full_disk_keeps_what_was_there(monkeypatch):
  rng, tape = np.random.default_rng(0), Tape(SHAPE)
  chunks = [_chunk(rng), _chunk(rng)]
  tape.append(*chunks[0])
  write = os.pwrite

  def fail(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

  for full in (fail, lambda file, data, at: write(file, data[:5], at)):
    with monkeypatch.context() as patch:
      patch.setattr(os, 'pwrite', full)
      with pytest.raises(UserError, match='cannot be kept: No space left'):
        tape.append(*chunks[1])
    _is(tape, chunks[:1])
  tape.append(*chunks[1])
  _is(tape, chunks)


def test_a_tape_leaves_no_file(tmp_path):
  files = '/proc/self/fd'
  if not os.path.isdir(files):
    pytest.skip('open files are read from /proc')
  before = len(os.listdir(files))
  tape = Tape(SHAPE, tmp_path)
  tape.append(*_chunk(np.random.default_rng(0)))
  assert not list(tmp_path.iterdir())
  assert len(os.listdir(files)) == before + 1
  del tape
  gc.collect()
  assert len(os.listdir(files)) == before
