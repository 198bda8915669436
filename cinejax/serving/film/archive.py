"""Sessions on disk.

  ID.json          the journal, a screenplay that `direct` takes as well
  ID.plan          what was planned for later (session.py)
  ID.safetensors   how the film stands: state, latents, thumbnails
  open.json        sessions that were live when the server was stopped

Names are made here or read from the folder, never from a client's words; what
else lies there, such as a screenplay, is neither listed nor deleted. A state is
taken up only by the model it is of and under a journal that begins with its
own; otherwise the journal alone is left, and makes the film again.
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
  """A session as it was written down."""

  film: Film  # all of it, which may be more than was made
  finished: Film | None  # what the state below has made; None: no state
  snapshot: Snapshot | None
  latents: Sequence[np.ndarray]  # [F, Y, X, C] of each chunk
  thumbnails: list[bytes]
  plan: Any  # as it was given to `save`; None: nothing


class SessionArchive:
  """A folder of sessions; the `most` newest stay."""

  def __init__(self, folder: pathlib.Path, model: str, max_sessions: int):
    """`model` tells whose states can be taken up."""
    self._folder, self._model, self._max_sessions = folder, model, max_sessions

  def names(self) -> list[str]:
    """SavedSession sessions, the newest first."""
    paths = self._folder.glob('*.json')
    paths = [path for path in paths if _NAME.fullmatch(path.stem)]
    paths.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    return [path.stem for path in paths]

  def titles(self) -> dict[str, str]:
    """By name, the newest first; of the first prompt where there is none."""
    found = {}
    for name in self.names():
      try:
        (film,) = screenplay.load(self._path(name, 'json'))
      except UserError:
        continue
      found[name] = film.title or film.segments[0].prompt
    return found

  def save_journal(self, name: str, film: Film) -> None:
    """Nothing is written of a film that has not begun."""
    if film.segments:
      screenplay.save(film, self._path(name, 'json'))
      for old in self.names()[self._max_sessions :]:
        self.delete(old)

  def save(
    self, name: str, live_film: LiveFilm, film: Film, plan: Any = None
  ) -> None:
    """Journal, plan (of JSON) and, unless a chunk is away, the state."""
    if not film.segments:
      return
    self.save_journal(name, film)
    with atomic_path(self._path(name, 'plan')) as partial:
      partial.write_text(json.dumps(plan))
    if live_film.chunk_in_flight or not live_film.chunks:
      return
    now, frames = live_film.snapshot(), range(live_film.spool.frames)
    thumbnails = [live_film.spool.thumbnail(frame) for frame in frames]
    tree = {
      'state': tree_lib.nested(now.state),
      'decoder': tree_lib.nested(now.decoder),
      'latents': live_film.spool.latents(),
      'thumbs': np.frombuffer(b''.join(thumbnails), np.uint8),
      'thumb_bytes': np.array([len(one) for one in thumbnails], np.int64),
    }
    told = {
      'model': self._model,
      'film': json.dumps(screenplay.document(live_film.screenplay())),
    }
    save_tree(self._path(name, 'safetensors'), tree, told)

  def load(self, name: str) -> SavedSession:
    """Raises UserError where there is no such session."""
    if name not in self.names():
      raise UserError('there is no such saved session')
    (film,) = screenplay.load(self._path(name, 'json'))
    bare = SavedSession(film, None, None, [], [], self._plan(name))
    try:
      tree, told = load_tree(self._path(name, 'safetensors'))
      made = screenplay.parse(json.loads(told['film']), 'saved film')
    except (UserError, KeyError, ValueError):
      return bare
    if told.get('model') != self._model or not _begins_with(film, made):
      return bare
    ends = np.cumsum(tree['thumb_bytes'])
    blob = tree['thumbs'].tobytes()
    kept = (tree_lib.paths(tree.get(k, {})) for k in ('state', 'decoder'))
    return bare._replace(
      finished=made,
      snapshot=Snapshot(*kept),
      latents=tree['latents'],
      thumbnails=[
        blob[end - size : end]
        for size, end in zip(tree['thumb_bytes'], ends, strict=True)
      ],
    )

  def delete(self, name: str) -> None:
    for kind in ('json', 'plan', 'safetensors'):
      self._path(name, kind).unlink(missing_ok=True)

  def set_open(self, names: list[str]) -> None:
    with atomic_path(self._folder / 'open.json') as partial:
      partial.write_text(json.dumps(names))

  def open(self) -> list[str]:
    """Those that were live, of which there is something left."""
    try:
      told: Any = json.loads((self._folder / 'open.json').read_text())
    except (OSError, ValueError):
      return []
    known = told if isinstance(told, list) else []
    return [name for name in self.names() if name in known]

  def _plan(self, name: str) -> Any:
    try:
      return json.loads(self._path(name, 'plan').read_text())
    except (OSError, ValueError):
      return None

  def _path(self, name: str, kind: str) -> pathlib.Path:
    return self._folder / f'{name}.{kind}'


def _begins_with(film: Film, made: Film) -> bool:
  """Whether `made` is `film` up to some chunk."""
  count, whole = len(made.segments), film.segments[: len(made.segments)]
  if film.seed != made.seed or len(whole) < count:
    return False
  if whole[-1].chunks < made.segments[-1].chunks:
    return False
  last = dataclasses.replace(whole[-1], chunks=made.segments[-1].chunks)
  return (*whole[:-1], last) == made.segments
