"""Stores the latents and thumbnails of a film's chunks in a file.

In memory, the few kilobytes of each chunk would lie between the large buffers
that generating it allocates and frees: the process would grow by four times
their size for as long as films run. In a file they only cost the memory of
their positions.

The file of a film that has a record (record.py) has a name, and what is in it
is never overwritten. Other films have an unnamed file, which is deleted with
the spool, or with the process.
"""

import array
import errno
import functools
import os
import pathlib
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cinejax.core.disk import disk_errors

# Latents float32 [F, Y, X, C], and a thumbnail of each of the F frames.
SpooledChunk = tuple[np.ndarray, list[bytes]]


class Extent(NamedTuple):
  """Where a chunk is in the file."""

  start: int  # bytes
  sizes: Sequence[int]  # bytes of its latents and of each thumbnail
  crc: int  # CRC-32 of these bytes


class FrameSpool:
  """The latents, and a thumbnail of each latent frame, of each chunk."""

  def __init__(
    self,
    shape: tuple[int, ...],
    folder: pathlib.Path | None = None,
    path: pathlib.Path | None = None,
  ):
    """An empty spool.

    Args:
      shape: of the latents of a chunk.
      folder: of an unnamed file; None: where temporary files are.
      path: of a named file, which may exist already.
    """
    self._shape, self._folder, self._path = shape, folder, path
    self._starts = array.array('Q')  # of each item
    self._sizes = array.array('Q')
    self._end = 0  # where the next chunk is written

  def __len__(self) -> int:
    """The number of chunks."""
    return len(self._sizes) // self._items

  @property
  def frames(self) -> int:
    """The number of latent frames in all chunks."""
    return len(self) * self._shape[0]

  def append(
    self, latents_FYXC: np.ndarray, thumbnails: Sequence[bytes]
  ) -> Extent:
    """Appends a chunk, or nothing and raises UserError if the disk fails."""
    items = [latents_FYXC.astype(np.float32, copy=False).tobytes(), *thumbnails]
    data = b''.join(items)
    file = self._file  # sets the end
    with disk_errors(self._path or 'the temporary file of a film'):
      written = os.pwrite(file, data, self._end)
      if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sizes = [len(item) for item in items]
    extent = Extent(self._end, sizes, zlib.crc32(data))
    self._add(extent)
    self._end += len(data)
    return extent

  def attach(self, extents: Sequence[Extent]) -> int:
    """Adds chunks that the file already holds, up to the first damaged one.

    Returns the number of chunks that were added.
    """
    for number, extent in enumerate(extents):
      size = sum(extent.sizes)
      data = os.pread(self._file, size, extent.start)
      items = len(extent.sizes)
      if items != self._items or zlib.crc32(data) != extent.crc:
        return number
      self._add(extent)
    return len(extents)

  def chunk(self, number: int) -> SpooledChunk:
    first = number * self._items
    thumbnails = [self._read(first + 1 + n) for n in range(self._shape[0])]
    flat = np.frombuffer(self._read(first), np.float32)
    return flat.reshape(self._shape), thumbnails

  def start(self, number: int) -> int:
    """Where a chunk begins in the file, in bytes."""
    return self._starts[number * self._items]

  def thumbnail(self, frame: int) -> bytes:
    """The thumbnail of a latent frame of the film."""
    chunk, index = divmod(frame, self._shape[0])
    return self._read(chunk * self._items + 1 + index)

  def latents(self) -> np.ndarray:
    """The latents [N, F, Y, X, C] of all N chunks."""
    film = np.empty((len(self), *self._shape), np.float32)
    for number in range(len(self)):
      film[number] = self.chunk(number)[0]
    return film

  def truncate(self, chunks: int) -> None:
    """Keeps only the first `chunks`; a named file keeps the data of all."""
    first = chunks * self._items
    if self._path is None and first < len(self._starts):
      self._end = self._starts[first]
    del self._starts[first:], self._sizes[first:]

  @functools.cached_property
  def _file(self) -> int:
    """The file, which is opened when it is needed first."""
    if self._path is None:
      file = tempfile.TemporaryFile(buffering=0, dir=self._folder)
    else:
      self._path.parent.mkdir(parents=True, exist_ok=True)
      handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
      file = os.fdopen(handle, 'r+b', buffering=0)
    weakref.finalize(self, file.close)
    self._end = file.seek(0, os.SEEK_END)
    return file.fileno()

  @property
  def _items(self) -> int:
    """The items of a chunk: its latents, and a thumbnail of each frame."""
    return 1 + self._shape[0]

  def _add(self, extent: Extent) -> None:
    start = extent.start
    for size in extent.sizes:
      self._starts.append(start)
      self._sizes.append(size)
      start += size

  def _read(self, item: int) -> bytes:
    size, start = self._sizes[item], self._starts[item]
    return os.pread(self._file, size, start)
