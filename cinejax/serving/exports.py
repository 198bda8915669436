"""Writes films as files that clients download: a queue with progress.

One film is written at a time, on a thread of its own, because decoding shares
the device with the films that are live. A client asks for an export, watches
its progress and fetches the file, or cancels it. What a client does, or that it
has gone, holds up no other export: the file is complete on disk before any of
it is sent.

Files are in `exports/` in --workdir. They are copies, which can be written
again: the newest config.serving.exports of them stay, until the server ends.
"""

import concurrent.futures
import contextlib
import io
import pathlib
import secrets
import shutil
import threading
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film import media
from cinejax.serving.registry import (
  CapacityError,
  NotFoundError,
  SessionRegistry,
)
from cinejax.serving.session import Session

# By format: the suffix and the media type of the file.
FORMATS = {'mp4': ('.mp4', 'video/mp4'), 'png': ('.zip', 'application/zip')}
_UNFINISHED = ('queued', 'running')


class _Cancelled(Exception):
  """The client does not want the file any more."""


class Export:
  """A film that is to be written, that is being written, or that is."""

  def __init__(self, session: Session, kind: str, folder: pathlib.Path):
    self.id = secrets.token_hex(8)
    self.session, self.kind = session, kind
    self.title = session.shown_title or 'Untitled'
    self.path = folder / f'{self.id}{FORMATS[kind][0]}'
    # queued | running | done | failed | cancelled
    self.status, self.error = 'queued', ''
    self.frames, self.total = 0, 0  # written, and in the film
    self.ended = threading.Event()

  def to_json(self) -> dict[str, Any]:
    return {
      'id': self.id,
      'film': self.session.name,
      'title': self.title,
      'format': self.kind,
      'status': self.status,
      'error': self.error,
      'share': round(self.frames / self.total, 3) if self.total else 0.0,
    }


class ExportQueue:
  """Writes exports one after another; any thread may call its methods."""

  def __init__(self, registry: SessionRegistry, folder: pathlib.Path):
    """An empty queue; files of an earlier server in `folder` are deleted."""
    self._registry, self._folder = registry, folder
    shutil.rmtree(folder, ignore_errors=True)
    self._exports: dict[str, Export] = {}  # in the order of arrival
    self._lock = threading.Lock()
    self._writer = concurrent.futures.ThreadPoolExecutor(1, 'export')

  def add(self, session: Session, kind: str) -> Export:
    """Queues an export of the film, as it is when its turn comes.

    Args:
      session: its film has at least one chunk.
      kind: one of FORMATS: an MP4, or a ZIP archive of PNG files.

    Raises:
      UserError: for other formats.
      NotFoundError: if the film has no frames.
      CapacityError: if too many exports are waiting.
    """
    if kind not in FORMATS:
      raise UserError(f'there is no format {kind}; take {" or ".join(FORMATS)}')
    if not session.live_film.chunks:
      raise NotFoundError('the film has no frames yet')
    export = Export(session, kind, self._folder)
    most = self._registry.cfg.exports
    if self._registry.closing:
      raise CapacityError('the server is closing')
    with self._lock:
      waiting = [e for e in self._exports.values() if e.status in _UNFINISHED]
      if len(waiting) >= most:
        raise CapacityError(
          f'{most} films are waiting to be written, and this server takes no '
          'more; try again later'
        )
      self._exports[export.id] = export
    self._writer.submit(self._run, export)
    return export

  def find(self, name: str) -> Export:
    """The export of this name; NotFoundError if there is none."""
    with self._lock:
      if name not in self._exports:
        raise NotFoundError('there is no such export; it may have been dropped')
      return self._exports[name]

  def entries(self) -> list[dict[str, Any]]:
    """All exports, as JSON, the newest last."""
    with self._lock:
      return [export.to_json() for export in self._exports.values()]

  def open(self, name: str) -> tuple[Export, BinaryIO]:
    """A finished export and its file, which can be read until it is closed.

    Raises NotFoundError if it is not finished, or if its file is gone.
    """
    export = self.find(name)
    if export.status != 'done':
      raise NotFoundError(
        f'this export is {export.status}; its file is not there'
      )
    try:
      return export, export.path.open('rb')
    except FileNotFoundError as error:  # it was dropped a moment ago
      raise NotFoundError(
        'the file of this export is gone; ask for another export'
      ) from error

  def cancel(self, name: str) -> None:
    """Ends an export, or deletes its file if it is finished."""
    export = self.find(name)
    with self._lock:
      export.status = 'cancelled'  # which `_counted` sees
      self._exports.pop(name, None)
    export.path.unlink(missing_ok=True)
    export.ended.set()

  def close(self) -> None:
    """Gives up what is not finished, and deletes all files."""
    for entry in self.entries():
      with contextlib.suppress(NotFoundError):  # a client was faster
        self.cancel(entry['id'])
    self._writer.shutdown(wait=False, cancel_futures=True)
    shutil.rmtree(self._folder, ignore_errors=True)

  def _run(self, export: Export) -> None:
    try:
      with self._lock:
        if export.status == 'cancelled':
          return
        export.status = 'running'
      self._folder.mkdir(parents=True, exist_ok=True)
      self._write(export)
      with self._lock:
        if export.status == 'cancelled':
          raise _Cancelled
        export.status = 'done'
    except _Cancelled:
      export.path.unlink(missing_ok=True)
    except Exception as error:  # the disk is full, or the film was closed
      export.status, export.error = 'failed', str(error)
    finally:
      export.ended.set()
      self._drop_oldest()

  def _write(self, export: Export) -> None:
    director = self._registry.director
    film = director.cfg.film
    with self._registry.changed:
      live_film = export.session.live_film
      export.total = director.timeline.chunk_start_pixel(live_film.chunks)
      frames = live_film.frames()
    frames = _counted(export, frames)
    if export.kind == 'png':
      _write_pngs(export.path, frames)
    else:
      scale = media.watchable_scale(film.height)
      media.write_video(export.path, frames, film.fps, scale=scale)

  def _drop_oldest(self) -> None:
    """Drops finished exports until config.serving.exports of them stay."""
    with self._lock:
      ended = [e for e in self._exports.values() if e.status not in _UNFINISHED]
      surplus = ended[: max(0, len(ended) - self._registry.cfg.exports)]
      for export in surplus:
        del self._exports[export.id]
    for export in surplus:
      export.path.unlink(missing_ok=True)


def _counted(
  export: Export, frames: Iterable[np.ndarray]
) -> Iterator[np.ndarray]:
  """`frames`, counted, until the export is cancelled."""
  for frame_YXC in frames:
    if export.status == 'cancelled':
      raise _Cancelled
    yield frame_YXC
    export.frames += 1


def _write_pngs(path: pathlib.Path, frames: Iterable[np.ndarray]) -> None:
  """Writes frame_00000.png and so on, in the pixels of the film."""
  with (
    atomic_path(path) as partial,
    zipfile.ZipFile(partial, 'w', zipfile.ZIP_STORED) as archive,
  ):
    for number, frame_YXC in enumerate(frames):
      buffer = io.BytesIO()
      Image.fromarray(frame_YXC).save(buffer, 'png')
      archive.writestr(f'frame_{number:05d}.png', buffer.getvalue())
