"""Stores the latents and thumbnails of a film's chunks in an unnamed file.

In memory, the few kilobytes of each chunk would lie between the large buffers
that generating it allocates and frees: the process would grow by four times
their size for as long as films run. In a file they only cost the memory of
their positions. The file is deleted with the spool, or with the process.
"""

import array
import errno
import os
import pathlib
import tempfile
import weakref
from collections.abc import Sequence

import numpy as np

from cinejax.core.errors import UserError

# Latents float32 [F, Y, X, C], and a thumbnail of each of the F frames.
SpooledChunk = tuple[np.ndarray, list[bytes]]


class FrameSpool:
  """The latents, and a thumbnail of each latent frame, of each chunk."""

  def __init__(
    self, shape: tuple[int, ...], folder: pathlib.Path | None = None
  ):
    """An empty spool.

    Args:
      shape: of the latents of a chunk.
      folder: of the file; None: where temporary files are.
    """
    self._shape = shape
    self._file = tempfile.TemporaryFile(buffering=0, dir=folder)
    self._ends = array.array('Q', [0])  # offset after each item
    weakref.finalize(self, self._file.close)

  def __len__(self) -> int:
    """The number of chunks."""
    return (len(self._ends) - 1) // self._items

  @property
  def frames(self) -> int:
    """The number of latent frames in all chunks."""
    return len(self) * self._shape[0]

  def append(
    self, latents_FYXC: np.ndarray, thumbnails: Sequence[bytes]
  ) -> None:
    """Appends a chunk, or nothing and raises UserError if the disk is full."""
    items = [latents_FYXC.astype(np.float32, copy=False).tobytes(), *thumbnails]
    data = b''.join(items)
    try:
      written = os.pwrite(self._file.fileno(), data, self._ends[-1])
      if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
      raise UserError(
        f'the film cannot be kept: {error.strerror}; free some space'
      ) from error
    for item in items:
      self._ends.append(self._ends[-1] + len(item))

  def chunk(self, number: int) -> SpooledChunk:
    first = number * self._items
    thumbnails = [self._read(first + 1 + n) for n in range(self._shape[0])]
    flat = np.frombuffer(self._read(first), np.float32)
    return flat.reshape(self._shape), thumbnails

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
    """Keeps only the first `chunks`."""
    del self._ends[1 + chunks * self._items :]

  @property
  def _items(self) -> int:
    """The items of a chunk: its latents, and a thumbnail of each frame."""
    return 1 + self._shape[0]

  def _read(self, item: int) -> bytes:
    start, end = self._ends[item], self._ends[item + 1]
    return os.pread(self._file.fileno(), end - start, start)
