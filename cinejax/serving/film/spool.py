"""Stores the latents and pictures of a film's chunks in a file.

In memory, the few kilobytes of each chunk would lie between the large buffers
that generating it allocates and frees: the process would grow by four times
their size for as long as films run. In a file they only cost the memory of
their positions.

Chunks are stored in the order in which they are appended, and stay. The film is
a path through them (takes.py), which `select` changes.

The file of a film that has a record (record.py) has a name. Other films have an
unnamed file, which is deleted with the spool, or with the process.
"""

import array
import errno
import functools
import os
import pathlib
import struct
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cinejax.core.disk import disk_errors
from cinejax.serving.film.takes import shared_chunks

# Latents float32 [F, Y, X, C], and a thumbnail of each of the F frames.
SpooledChunk = tuple[np.ndarray, list[bytes]]


class Extent(NamedTuple):
  """Where a chunk is in the file."""

  start: int  # bytes
  sizes: Sequence[int]  # of its latents, of each thumbnail, and of its stills
  crc: int  # CRC-32 of these bytes


class FrameSpool:
  """The latents, thumbnails and stills of each chunk."""

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
    self._crcs = array.array('Q')  # of each chunk
    self._end = 0  # where the next chunk is written
    self._film = array.array('l')  # the stored chunks of which it consists

  def __len__(self) -> int:
    """The number of chunks of the film."""
    return len(self._film)

  @property
  def stored(self) -> int:
    """The number of chunks in the file."""
    return len(self._crcs)

  @property
  def frames(self) -> int:
    """The number of latent frames of the film."""
    return len(self) * self._shape[0]

  def append(
    self,
    latents_FYXC: np.ndarray,
    thumbnails: Sequence[bytes],
    stills: bytes = b'',
  ) -> Extent:
    """Appends a chunk, or nothing and raises UserError if the disk fails.

    Args:
      latents_FYXC: its latents.
      thumbnails: a picture of each latent frame.
      stills: all pixel frames of the chunk, as `pack_stills` packs them.
    """
    items = [latents_FYXC.astype(np.float32, copy=False).tobytes()]
    items += [*thumbnails, stills]
    data = b''.join(items)
    file = self._file  # sets the end
    with disk_errors(self._path or 'the temporary file of a film'):
      written = os.pwrite(file, data, self._end)
      if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sizes = [len(item) for item in items]
    extent = Extent(self._end, sizes, zlib.crc32(data))
    self._add(extent)
    self._film.append(self.stored - 1)
    self._end += len(data)
    return extent

  def forget_last(self) -> None:
    """Forgets the chunk that was appended last."""
    del self._film[-1:], self._crcs[-1:]
    del self._starts[-self._items :], self._sizes[-self._items :]

  def attach(self, extents: Sequence[Extent]) -> None:
    """Adds chunks that the file already holds, which `select` can choose."""
    for extent in extents:
      self._add(extent)

  def select(self, film: Sequence[int]) -> int:
    """Makes these stored chunks the film, up to the first damaged one.

    Returns the number of chunks of the film.
    """
    whole = shared_chunks(film, self._film)
    while whole < len(film) and self._is_whole(film[whole]):
      whole += 1
    self._film = array.array('l', film[:whole])
    return whole

  def chunk(self, number: int) -> SpooledChunk:
    """The latents and thumbnails of a chunk of the film."""
    first = self._film[number] * self._items
    thumbnails = [self._read(first + 1 + n) for n in range(self._shape[0])]
    flat = np.frombuffer(self._read(first), np.float32)
    return flat.reshape(self._shape), thumbnails

  def start(self, number: int) -> int:
    """Where a chunk begins in the file, in bytes."""
    return self._starts[self._film[number] * self._items]

  def thumbnail(self, frame: int) -> bytes:
    """The thumbnail of a latent frame of the film."""
    chunk, index = divmod(frame, self._shape[0])
    return self._read(self._film[chunk] * self._items + 1 + index)

  def stills(self, stored: int) -> bytes:
    """The packed stills of a stored chunk.

    Chunks of films that earlier versions recorded have only thumbnails.
    """
    last = (stored + 1) * self._items - 1
    if self._sizes[last]:
      return self._read(last)
    return pack_stills(
      [self._read(last - n) for n in range(self._items - 2, 0, -1)]
    )

  def latents(self) -> np.ndarray:
    """The latents [N, F, Y, X, C] of the N chunks of the film."""
    film = np.empty((len(self), *self._shape), np.float32)
    for number in range(len(self)):
      film[number] = self.chunk(number)[0]
    return film

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
    """Items of a chunk: latents, a thumbnail of each frame, and its stills."""
    return 2 + self._shape[0]

  def _add(self, extent: Extent) -> None:
    start = extent.start
    # Earlier versions recorded no stills.
    missing = self._items - len(extent.sizes)
    for size in [*extent.sizes, *[0] * missing]:
      self._starts.append(start)
      self._sizes.append(size)
      start += size
    self._crcs.append(extent.crc)

  def _is_whole(self, stored: int) -> bool:
    first = stored * self._items
    size = sum(self._sizes[first : first + self._items])
    data = os.pread(self._file, size, self._starts[first])
    return len(data) == size and zlib.crc32(data) == self._crcs[stored]

  def _read(self, item: int) -> bytes:
    size, start = self._sizes[item], self._starts[item]
    return os.pread(self._file, size, start)


def pack_stills(images: Sequence[bytes]) -> bytes:
  """The pictures of a chunk in one piece.

  Their number and the size of each, as big-endian uint32, and then the
  pictures; nothing for no pictures.
  """
  if not images:
    return b''
  sizes = [len(image) for image in images]
  return struct.pack(f'>{1 + len(sizes)}I', len(sizes), *sizes) + b''.join(
    images
  )
