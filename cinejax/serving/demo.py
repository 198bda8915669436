"""A film for the page of somebody who has none yet.

It is made once for a model, at the first start of a server with that --workdir,
as a session of its own: its chunks take turns with those of other films, and
nobody waits for it. It is kept as demo-MODEL.mp4 in the folder.
"""

import logging
import pathlib
import threading

from cinejax.config import Config
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film.journal import Film, Segment
from cinejax.serving.prompts import vocabulary
from cinejax.serving.studio import Studio

_TITLE = 'The first film of this server'
_SEED = 0
_STOP_SECS = 1.0  # to wait for the thread
_STORY = (
  ('Ada walks left in the forest, wide shot', 2),
  ('Ben jumps on the beach, medium shot', 2),
  ('Ada stands in the city, medium shot', 2),
  ('Ben walks left in the desert, wide shot, panning', 2),
)
_FREE = (
  ('A red fox walks through a snowy forest at dawn, wide shot', 2),
  ('An old lighthouse on a cliff above a stormy sea', 2),
  ('The red fox looks up at the lighthouse, close-up', 2),
)


def demo_film(cfg: Config) -> Film:
  """The screenplay of the film, in words that the model knows."""
  shots = _FREE if vocabulary(cfg) is None else _STORY
  segments = (Segment(prompt, chunks=chunks) for prompt, chunks in shots)
  return Film(tuple(segments), _TITLE, _SEED)


class DemoMaker:
  """Makes the film of a studio on a thread of its own, if there is none."""

  def __init__(self, studio: Studio, check_secs: float = 0.5):
    """Makes nothing yet.

    Args:
      studio: makes the film, and shows it.
      check_secs: time between two looks at how far it is.
    """
    self._studio, self._check_secs = studio, check_secs
    self._stopping = threading.Event()
    self._name = ''
    self._thread = threading.Thread(target=self._make, daemon=True)

  def start(self) -> None:
    if not self._studio.registry.demo_path.is_file():
      self._thread.start()

  def stop(self) -> None:
    """Gives the film up if it is not complete."""
    self._stopping.set()
    if self._thread.is_alive():
      self._thread.join(_STOP_SECS)

  def _make(self) -> None:
    try:
      film = demo_film(self._studio.director.cfg)
      session = self._studio.create(film=film)
      self._name = session['id']
      while session['status'] == 'rolling':
        if self._stopping.wait(self._check_secs):
          return
        session = self._studio.describe(self._name)
      if session['chunks'] == sum(one.chunks for one in film.segments):
        path = self._studio.registry.demo_path
        _write(path, self._studio.video(self._name))
    except UserError as error:  # the server is full, or the disk is
      logging.warning('no film is shown on an empty page: %s', error)
    finally:
      self._close()

  def _close(self) -> None:
    """Frees the session, and deletes its files for good."""
    registry = self._studio.registry
    with registry.changed:
      session = registry.sessions.get(self._name)
      if session is not None:
        registry.discard(session, 'it was made for the empty page')


def _write(path: pathlib.Path, video: bytes) -> None:
  with atomic_path(path) as partial:
    partial.write_bytes(video)
