"""Makes films with a record, and takes recorded films up again."""

import logging
from typing import Any, NamedTuple

from cinejax.directing.director import Director
from cinejax.film.journal import Film
from cinejax.serving.film import record as record_lib
from cinejax.serving.film.archive import SessionArchive
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.film.record import FilmRecord, RecordedFilm


class RestoredFilm(NamedTuple):
  """A film that was taken up again."""

  live_film: LiveFilm
  film: Film  # its screenplay, which may go on after the chunks that are there
  plan: dict[str, Any] | None  # what is planned after them (plan.py)
  title: str


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

  def restore(self, name: str) -> RestoredFilm:
    """A film with all of its recorded chunks.

    Raises UserError if there is no such film, or if its files were changed.
    """
    self.archive.flush()
    path = self.archive.path(name)
    if not path.exists():
      return self._convert(name)
    prefix = self._director.cfg.film.cut_prefix
    recorded = record_lib.read(path, prefix)
    if recorded.dropped:
      logging.warning(
        '%s: its last line was written by half and is dropped', path
      )
    record = FilmRecord(
      path.with_suffix(''), self._director.latent_shape, {}, recorded.length
    )
    live_film = self._film(recorded.seed, record)
    self._attach(name, live_film, recorded)
    plan = recorded.plan.to_json()
    return RestoredFilm(live_film, recorded.film, plan, recorded.title)

  def _attach(
    self, name: str, live_film: LiveFilm, recorded: RecordedFilm
  ) -> None:
    """Gives `live_film` the recorded chunks that are whole."""
    count = 0  # another model generates the film again
    if recorded.model == self.archive.model:
      count = live_film.spool.attach(recorded.extents)
    film = recorded.film
    if count < len(recorded.extents):
      path = self.archive.path(name)
      logging.warning('%s: the film is generated again from %d', path, count)
      live_film.write({'rewind': count, 'model': self.archive.model})
      segments = recorded.journal.truncated(count).segments
      film = Film(segments, seed=recorded.seed)
    live_film.attach(film, self.archive.state(name, film))

  def _convert(self, name: str) -> RestoredFilm:
    """Restores a film of an earlier version, which gets a journal."""
    saved = self.archive.load(name)
    seed, title = saved.film.seed or 0, saved.film.title
    live_film = self.new(name, seed, title)
    if saved.finished is not None:
      live_film.load(
        saved.finished, saved.snapshot, saved.latents, saved.thumbnails
      )
    return RestoredFilm(live_film, saved.film, saved.plan, title)

  def _film(self, seed: int, record: FilmRecord) -> LiveFilm:
    kept = self._director.cfg.serving.kept_states
    return LiveFilm(self._director, seed, kept, record=record)
