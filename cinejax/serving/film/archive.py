"""Saves sessions to a folder and loads them.

  ID.json          the journal, a screenplay that `direct` accepts as well
  ID.plan          the planned directions (plan.py)
  ID.safetensors   the state of the film, its latents and its thumbnails
  open.json        the sessions that were live when the server stopped

Names of sessions are made by session.py or read from the folder, and never
taken from a client. Other files in the folder, such as screenplays, are neither
listed nor deleted. A saved state is loaded only if it belongs to the same model
and if the journal begins with the journal of the state; otherwise the session
consists of its journal, which generates the film again.
"""

import dataclasses
import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film import screenplay
from cinejax.film.journal import Film
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.serving.film.live_film import LiveFilm, Snapshot

_NAME = re.compile('[0-9a-f]{16}')  # as session.py makes them


class SavedSession(NamedTuple):
  """A session as it was saved."""

  film: Film  # the journal, which may continue after the finished chunks
  finished: Film | None  # the journal of the state; None: there is no state
  snapshot: Snapshot | None
  latents: Sequence[np.ndarray]  # [F, Y, X, C] of each chunk
  thumbnails: list[bytes]
  plan: Any  # as it was given to `save`; None: there is none


class SessionArchive:
  """A folder of sessions, of which the newest `max_sessions` stay."""

  def __init__(self, folder: pathlib.Path, model: str, max_sessions: int):
    """`model` identifies the model whose states can be loaded."""
    self._folder, self._model = folder, model
    self._max_sessions = max_sessions

  def names(self) -> list[str]:
    """The saved sessions, the newest first."""
    paths = self._folder.glob('*.json')
    paths = [path for path in paths if _NAME.fullmatch(path.stem)]
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in paths]

  def titles(self) -> dict[str, str]:
    """Titles by name, the newest first; films without one: first prompts."""
    titles = {}
    for name in self.names():
      try:
        (film,) = screenplay.load(self._path(name, 'json'))
      except UserError:
        continue
      titles[name] = film.title or film.segments[0].prompt
    return titles

  def save_journal(self, name: str, film: Film) -> None:
    """Saves the journal, unless the film has not begun."""
    if film.segments:
      screenplay.save(film, self._path(name, 'json'))
      for old in self.names()[self._max_sessions :]:
        self.delete(old)

  def save(
    self, name: str, live_film: LiveFilm, film: Film, plan: Any = None
  ) -> None:
    """Saves a session, unless its film has not begun.

    The state is left out while a chunk is in flight.

    Args:
      name: of the session.
      live_film: its film.
      film: its journal.
      plan: JSON of its planned directions.
    """
    if not film.segments:
      return
    self.save_journal(name, film)
    with atomic_path(self._path(name, 'plan')) as partial:
      partial.write_text(json.dumps(plan))
    if live_film.chunk_in_flight or not live_film.chunks:
      return
    snapshot, spool = live_film.snapshot(), live_film.spool
    thumbnails = [spool.thumbnail(frame) for frame in range(spool.frames)]
    sizes = [len(thumbnail) for thumbnail in thumbnails]
    tree = {
      'state': tree_lib.nested(snapshot.state),
      'decoder': tree_lib.nested(snapshot.decoder),
      'latents': spool.latents(),
      'thumbs': np.frombuffer(b''.join(thumbnails), np.uint8),
      'thumb_bytes': np.array(sizes, np.int64),
    }
    metadata = {
      'model': self._model,
      'film': json.dumps(screenplay.document(live_film.screenplay())),
    }
    save_tree(self._path(name, 'safetensors'), tree, metadata)

  def load(self, name: str) -> SavedSession:
    """Loads a session; UserError if there is no such session."""
    if name not in self.names():
      raise UserError('there is no such saved session')
    (film,) = screenplay.load(self._path(name, 'json'))
    journal = SavedSession(film, None, None, [], [], self._load_plan(name))
    try:
      tree, metadata = load_tree(self._path(name, 'safetensors'))
      finished = screenplay.parse(json.loads(metadata['film']), 'saved film')
    except (UserError, KeyError, ValueError):
      return journal
    if metadata.get('model') != self._model or not _begins_with(film, finished):
      return journal
    ends = np.cumsum(tree['thumb_bytes'])
    data = tree['thumbs'].tobytes()
    states = (tree_lib.paths(tree.get(k, {})) for k in ('state', 'decoder'))
    return journal._replace(
      finished=finished,
      snapshot=Snapshot(*states),
      latents=tree['latents'],
      thumbnails=[
        data[end - size : end]
        for size, end in zip(tree['thumb_bytes'], ends, strict=True)
      ],
    )

  def delete(self, name: str) -> None:
    for suffix in ('json', 'plan', 'safetensors'):
      self._path(name, suffix).unlink(missing_ok=True)

  def set_open(self, names: list[str]) -> None:
    """Records the sessions that are live."""
    with atomic_path(self._folder / 'open.json') as partial:
      partial.write_text(json.dumps(names))

  def open(self) -> list[str]:
    """The sessions of `set_open` that are saved."""
    try:
      names: Any = json.loads((self._folder / 'open.json').read_text())
    except (OSError, ValueError):
      return []
    known = names if isinstance(names, list) else []
    return [name for name in self.names() if name in known]

  def _load_plan(self, name: str) -> Any:
    try:
      return json.loads(self._path(name, 'plan').read_text())
    except (OSError, ValueError):
      return None

  def _path(self, name: str, suffix: str) -> pathlib.Path:
    return self._folder / f'{name}.{suffix}'


def _begins_with(film: Film, beginning: Film) -> bool:
  """Whether `beginning` is `film` up to some chunk."""
  count = len(beginning.segments)
  segments = film.segments[:count]
  if film.seed != beginning.seed or len(segments) < count:
    return False
  last_chunks = beginning.segments[-1].chunks
  if segments[-1].chunks < last_chunks:
    return False
  last = dataclasses.replace(segments[-1], chunks=last_chunks)
  return (*segments[:-1], last) == beginning.segments
