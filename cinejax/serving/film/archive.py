"""The films of a server, in one folder.

  ID.journal       what happened to the film (record.py); it is complete
  ID.chunks        at any moment, and everything else follows from it
  ID.safetensors   a state of the film, from which its journal is replayed
  ID.json          the screenplay when the film was saved; `direct` reads it
  open.json        the films that are live

Names of films are made by `new_name` or read from the folder, and never taken
from a client. Other files in the folder, such as screenplays, are neither
listed nor deleted.

Earlier versions had no journal: ID.json was the screenplay, ID.plan held the
planned directions, and ID.safetensors the latents and thumbnails as well. Such
films are read (`load`), and get a journal when they are restored.
"""

import concurrent.futures
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import secrets
import time
from collections.abc import Container, Sequence
from typing import Any, NamedTuple

import numpy as np

from cinejax.core import tree as tree_lib
from cinejax.core.errors import UserError
from cinejax.core.files import atomic_path
from cinejax.film import journal_file, screenplay
from cinejax.film.journal import Film
from cinejax.film.journal_file import JournalFile
from cinejax.interop.tensors import load_tree, save_tree
from cinejax.serving.film.host_state import Snapshot
from cinejax.serving.film.live_film import LiveFilm

_NAME = re.compile('[0-9a-f]{16}')  # as new_name makes them
_SUFFIXES = ('json', 'journal', 'chunks', 'safetensors', 'plan')


class SavedSession(NamedTuple):
  """A film as an earlier version saved it."""

  film: Film  # the screenplay, which may continue after the finished chunks
  finished: Film | None  # that of the state; None: there is no state
  snapshot: Snapshot | None
  latents: Sequence[np.ndarray]  # [F, Y, X, C] of each chunk
  thumbnails: list[bytes]
  plan: Any  # JSON of the planned directions; None: there is none


class SessionArchive:
  """A folder of films."""

  def __init__(self, folder: pathlib.Path, model: str):
    """`model` identifies the model whose states can be loaded."""
    self.folder, self.model = folder, model
    self._titles: dict[str, tuple[int, str]] = {}  # and time of the file
    # States are written while the film goes on, and deleted in their turn.
    self._writer = concurrent.futures.ThreadPoolExecutor(1, 'save')
    self._pending: concurrent.futures.Future | None = None

  def path(self, name: str, suffix: str = 'journal') -> pathlib.Path:
    return self.folder / f'{name}.{suffix}'

  def names(self) -> list[str]:
    """The saved films, the newest first."""
    times: dict[str, float] = {}
    for suffix in ('journal', 'json'):
      for path in self.folder.glob(f'*.{suffix}'):
        if _NAME.fullmatch(path.stem):
          times.setdefault(path.stem, path.stat().st_mtime)
    return sorted(times, key=lambda name: times[name], reverse=True)

  def titles(self) -> dict[str, str]:
    """Titles by name, the newest first; films without one: first prompts."""
    titles = {}
    for name in self.names():
      try:
        titles[name] = self._title(name)
      except UserError:
        continue
    return titles

  def entries(self, live: Container[str] = ()) -> list[dict[str, str]]:
    """The films that are not `live`, as JSON."""
    pairs = self.titles().items()
    return [
      {'id': name, 'title': one} for name, one in pairs if name not in live
    ]

  def save_journal(self, name: str, film: Film) -> None:
    """Saves the screenplay, unless the film has not begun."""
    if film.segments:
      screenplay.save(film, self.path(name, 'json'))

  def save_state(self, name: str, live_film: LiveFilm) -> None:
    """Saves the present state; no chunk may be in flight.

    The state is written while the film goes on. While an earlier one is being
    written, nothing is done.
    """
    if self._pending is not None and not self._pending.done():
      return
    snapshot = live_film.snapshot()
    tree = {
      'state': tree_lib.nested(snapshot.state),
      'decoder': tree_lib.nested(snapshot.decoder),
    }
    film = json.dumps(screenplay.document(live_film.screenplay()))
    metadata = {'model': self.model, 'film': film}
    path = self.path(name, 'safetensors')
    self._pending = self._writer.submit(save_tree, path, tree, metadata)
    live_film.saved_chunks = live_film.chunks

  def flush(self) -> None:
    """Waits until all states are written; raises what prevented the last."""
    self._writer.submit(lambda: None).result()
    pending, self._pending = self._pending, None
    if pending is not None:
      pending.result()

  def state(self, name: str, film: Film) -> tuple[int, Snapshot] | None:
    """A saved state with which `film` begins, and the chunks before it."""
    saved = self._saved(name, film)
    if saved is None:
      return None
    finished, snapshot, _ = saved
    return sum(segment.chunks for segment in finished.segments), snapshot

  def load(self, name: str) -> SavedSession:
    """Loads a film of an earlier version; UserError if there is none."""
    self.check(name)
    (film,) = screenplay.load(self.path(name, 'json'))
    session = SavedSession(film, None, None, [], [], self._load_plan(name))
    saved = self._saved(name, film)
    if saved is None:
      return session
    finished, snapshot, tree = saved
    ends = np.cumsum(tree['thumb_bytes'])
    data = tree['thumbs'].tobytes()
    return session._replace(
      finished=finished,
      snapshot=snapshot,
      latents=tree['latents'],
      thumbnails=[
        data[end - size : end]
        for size, end in zip(tree['thumb_bytes'], ends, strict=True)
      ],
    )

  def _saved(
    self, name: str, film: Film
  ) -> tuple[Film, Snapshot, dict[str, Any]] | None:
    """The screenplay with which `film` begins, its state, and what is beside.

    None if there is no such state, or if it is of another film or model.
    """
    try:
      tree, metadata = load_tree(self.path(name, 'safetensors'))
      finished = screenplay.parse(json.loads(metadata['film']), 'saved film')
    except (UserError, KeyError, ValueError):
      return None
    if metadata.get('model') != self.model or not _begins_with(film, finished):
      return None
    states = (tree_lib.paths(tree.get(k, {})) for k in ('state', 'decoder'))
    return finished, Snapshot(*states), tree

  def check(self, name: str) -> None:
    """Raises UserError if there is no film of this name."""
    if name not in self.names():
      raise UserError('there is no such saved session')

  def delete(self, name: str) -> None:
    """Deletes the files of a film."""

    def work() -> None:
      for suffix in _SUFFIXES:
        self.path(name, suffix).unlink(missing_ok=True)

    self._writer.submit(work).result()

  def move(
    self, name: str, other: 'SessionArchive', back: bool = False
  ) -> None:
    """Moves a film to the deleted ones, or `back` from them.

    Its journal is the first to go and the last to come back, so that a film
    that is not deleted has all of its files at any moment.
    """
    other.folder.mkdir(exist_ok=True)

    def work() -> None:
      for suffix in _SUFFIXES[::-1] if back else _SUFFIXES:
        path = other.path(name, suffix)
        with contextlib.suppress(FileNotFoundError):
          self.path(name, suffix).replace(path)
          os.utime(path)  # the age of a deleted film

    self._writer.submit(work).result()

  def rename(self, name: str, title: str) -> None:
    """Gives a film that is not live another title."""
    self.check(name)
    path, exported = self.path(name), self.path(name, 'json')
    if path.exists():
      file = JournalFile(path, journal_file.read(path).length)
      file.append([{'title': title}])
      file.close()
    if exported.exists():
      (film,) = screenplay.load(exported)
      screenplay.save(dataclasses.replace(film, title=title), exported)

  def delete_older(self, secs: float) -> list[str]:
    """Deletes the films whose files are older; returns their titles."""
    deleted = []
    for name, title in self.titles().items():
      path = self.path(name)
      path = path if path.exists() else self.path(name, 'json')
      if path.stat().st_mtime < time.time() - secs:
        deleted.append(title)
        self.delete(name)
    return deleted

  def set_open(self, names: list[str]) -> None:
    """Records the sessions that are live."""
    with atomic_path(self.folder / 'open.json') as partial:
      partial.write_text(json.dumps(names))

  def open(self) -> list[str]:
    """The sessions of `set_open` that are saved."""
    try:
      names: Any = json.loads((self.folder / 'open.json').read_text())
    except (OSError, ValueError):
      return []
    known = names if isinstance(names, list) else []
    return [name for name in self.names() if name in known]

  def _title(self, name: str) -> str:
    path = self.path(name)
    if not path.exists():
      (film,) = screenplay.load(self.path(name, 'json'))
      return film.title or film.segments[0].prompt
    changed = path.stat().st_mtime_ns
    if self._titles.get(name, (0, ''))[0] != changed:
      self._titles[name] = changed, _journal_title(path)
    return self._titles[name][1]

  def _load_plan(self, name: str) -> Any:
    try:
      return json.loads(self.path(name, 'plan').read_text())
    except (OSError, ValueError):
      return None


def _journal_title(path: pathlib.Path) -> str:
  title = prompt = ''
  for record in journal_file.read(path).records:
    title = record.get('title', title)
    prompt = prompt or record.get('segment', {}).get('prompt', '')
  return title or prompt


def _begins_with(film: Film, beginning: Film) -> bool:
  """Whether `beginning` is `film` up to some chunk, with the same cast."""
  count = len(beginning.segments)
  segments = film.segments[:count]
  if film.seed != beginning.seed or film.cast != beginning.cast:
    return False
  if len(segments) < count:
    return False
  last_chunks = beginning.segments[-1].chunks
  if segments[-1].chunks < last_chunks:
    return False
  last = dataclasses.replace(segments[-1], chunks=last_chunks)
  return (*segments[:-1], last) == beginning.segments


def new_name() -> str:
  """A name that no other session has, and that nobody can guess."""
  return secrets.token_hex(8)
