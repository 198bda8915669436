"""Makes films with a record, and takes recorded films up again."""

import logging
from typing import Any, NamedTuple

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.journal import Film
from cinejax.serving.film import record as record_lib
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.history import History
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.record import FilmRecord, RecordedFilm
from cinejax.serving.film.takes import ROOT


class RestoredFilm(NamedTuple):
  """A film that was taken up again."""

  live_film: LiveFilm
  film: Film  # its screenplay, which may go on after the chunks that are there
  plan: dict[str, Any] | None  # what is planned after them (plan.py)
  title: str
  history: History


class FilmFiles:
  """The films of an archive, for one director."""

  def __init__(self, director: Director, archive: SessionArchive):
    self._director, self.archive = director, archive

  def record(
    self, name: str, seed: int, title: str, opening: str | None = None
  ) -> FilmRecord:
    """The record of a new film."""
    header = {'model': self.archive.model, 'config': self._director.cfg.name}
    header |= {'seed': seed, 'title': title, 'opening': opening}
    path = self.archive.path(name).with_suffix('')
    return FilmRecord(path, self._director.latent_shape, header)

  def new(
    self, name: str, seed: int, title: str, opening: str | None = None
  ) -> LiveFilm:
    """A film without chunks; `opening` is the file of its first frame."""
    record = self.record(name, seed, title, opening)
    return self._film(seed, record)

  def fork(
    self, name: str, origin: LiveFilm, chunk: int, title: str
  ) -> LiveFilm:
    """A film of its own with the chunks of another one before `chunk`."""
    record = self.record(name, origin.seed, title)
    try:
      record.set_cast(origin.cast)
      return origin.fork(chunk, record)
    except UserError:  # the disk is full
      record.close()
      self.archive.delete(name)
      raise

  def restore(self, name: str) -> RestoredFilm:
    """A film with all of its recorded chunks.

    Raises UserError if there is no such film, or if its files were changed.
    """
    self.archive.flush()
    path = self.archive.path(name)
    if not path.exists():
      return self._convert(name)
    recorded = record_lib.read(path)
    if recorded.dropped:
      logging.warning(
        '%s: its last line was written by half and is dropped', path
      )
    record = FilmRecord(
      path.with_suffix(''), self._director.latent_shape, {}, recorded.length
    )
    live_film, film = self._film(recorded.seed, record), recorded.film
    self._attach(name, live_film, recorded)
    plan = recorded.plan.to_json()
    return RestoredFilm(live_film, film, plan, recorded.title, recorded.history)

  def _attach(
    self, name: str, live_film: LiveFilm, recorded: RecordedFilm
  ) -> None:
    """Gives `live_film` the recorded chunks that are whole."""
    if recorded.model != self.archive.model:
      path = self.archive.path(name)
      logging.warning('%s: another model generates the film again', path)
      live_film.write_with_next({'rewind': 0, 'model': self.archive.model})
      recorded.tree.go(ROOT, leave=False)
      recorded.tree.forget_takes()
      recorded.history.clear()
    live_film.cast = recorded.cast
    live_film.attach(recorded.tree, recorded.extents)
    film = live_film.screenplay()
    live_film.begin(self.archive.state(name, film))

  def _convert(self, name: str) -> RestoredFilm:
    """Restores a film of an earlier version, which gets a journal."""
    saved = self.archive.load(name)
    seed, title = saved.film.seed or 0, saved.film.title
    live_film = self.new(name, seed, title)
    if saved.finished is not None:
      count = self._director.cfg.film.frames_per_chunk
      live_film.store(
        saved.finished.segments,
        (
          (z_FYXC, saved.thumbnails[n * count : (n + 1) * count], b'')
          for n, z_FYXC in enumerate(saved.latents)
        ),
      )
      live_film.begin((live_film.chunks, saved.snapshot))
    return RestoredFilm(live_film, saved.film, saved.plan, title, History())

  def _film(self, seed: int, record: FilmRecord) -> LiveFilm:
    kept = self._director.cfg.serving.kept_states
    return LiveFilm(self._director, seed, kept, record=record)
