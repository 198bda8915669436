"""What a film leaves behind, chunk by chunk, in a file without a name.

In memory, the few kilobytes that each chunk leaves would lie between the large
buffers that making it takes and gives back: a process then grows by four times
what it keeps, for as long as somebody directs. In a file they cost the memory
of where they are. The file goes when the spool does, or the process.
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

Chunk = tuple[
  np.ndarray, list[bytes]
]  # latents float32 [F, Y, X, C], thumbnails


class FrameSpool:
  """Latents, and a still of each latent frame, by chunk."""

  def __init__(
    self, shape: tuple[int, ...], folder: pathlib.Path | None = None
  ):
    """`shape` of a chunk's latents; `folder` for the file, None: any."""
    self._shape = shape
    self._file = tempfile.TemporaryFile(buffering=0, dir=folder)
    self._ends = array.array('Q', [0])  # bytes up to each latents, each still
    weakref.finalize(self, self._file.close)

  def __len__(self) -> int:
    """In chunks."""
    return (len(self._ends) - 1) // self._items

  @property
  def frames(self) -> int:
    """Latent frames of all chunks."""
    return len(self) * self._shape[0]

  def append(
    self, latents_FYXC: np.ndarray, thumbnails: Sequence[bytes]
  ) -> None:
    """UserError where the disk takes no more; then nothing was appended."""
    items = [latents_FYXC.astype(np.float32, copy=False).tobytes(), *thumbnails]
    data = b''.join(items)
    try:
      written = os.pwrite(self._file.fileno(), data, self._ends[-1])
      if written < len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError as error:
      raise UserError(f'the film cannot be kept: {error.strerror}') from error
    for item in items:
      self._ends.append(self._ends[-1] + len(item))

  def chunk(self, number: int) -> Chunk:
    first = number * self._items
    thumbnails = [self._read(first + 1 + n) for n in range(self._shape[0])]
    flat = np.frombuffer(self._read(first), np.float32)
    return flat.reshape(self._shape), thumbnails

  def thumbnail(self, frame: int) -> bytes:
    """Of a latent frame of the film."""
    chunk, place = divmod(frame, self._shape[0])
    return self._read(chunk * self._items + 1 + place)

  def latents(self) -> np.ndarray:
    """[N, F, Y, X, C]: of the whole film."""
    film = np.empty((len(self), *self._shape), np.float32)
    for number in range(len(self)):
      film[number] = self.chunk(number)[0]
    return film

  def cut(self, chunks: int) -> None:
    """Only the first `chunks` stay."""
    del self._ends[1 + chunks * self._items :]

  @property
  def _items(self) -> int:
    """Of a chunk: its latents, and a still of each frame."""
    return 1 + self._shape[0]

  def _read(self, item: int) -> bytes:
    start, end = self._ends[item], self._ends[item + 1]
    return os.pread(self._file.fileno(), end - start, start)
