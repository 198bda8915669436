"""The cast of a session: its film begins with pictures of characters.

The pictures are data URLs, because a server reads no files for its clients.
They can change until the first chunk of the film starts.
"""

from collections.abc import Callable, Iterable
from typing import Any

from cinejax.core.errors import UserError
from cinejax.directing.director import Director
from cinejax.film.cast import (
  CastPicture,
  cast_document,
  embedded,
  grouped,
)
from cinejax.serving.film.live_film import LiveFilm
from cinejax.serving.registry import SessionRegistry

Cast = tuple[CastPicture, ...]


def give(
  director: Director, live_film: LiveFilm, cast: Iterable[CastPicture]
) -> None:
  """Gives a new film its cast.

  Raises UserError if a picture is the path of a file or cannot be read, or if
  there are too many.
  """
  pictures = _in_size(director, cast)
  if pictures:
    set_cast(live_film, pictures)


def set_cast(live_film: LiveFilm, cast: Iterable[CastPicture]) -> None:
  """Gives other pictures, embedded ones, to a film, and records them.

  Raises UserError if the film has begun, or as `encode_cast` does.
  """
  if live_film.journal.chunks or live_film.spool.stored:
    raise UserError('the film has begun, so its cast stays; begin a new film')
  live_film.set_cast(grouped(cast))
  if live_film.record is not None:
    live_film.record.set_cast(live_film.cast)


def _in_size(director: Director, cast: Iterable[CastPicture]) -> Cast:
  film = director.cfg.film
  for one in cast:
    if not one.embedded:
      raise UserError(
        f'{one.location}: a server reads no files; give a data URL'
      )
  return tuple(embedded(one, film.height, film.width) for one in cast)


def pictures(registry: SessionRegistry, name: str) -> dict[str, Any]:
  """The cast of a session, as a screenplay has it."""
  with registry.changed:
    return {'cast': cast_document(registry.find(name).live_film.cast)}


def add_picture(
  registry: SessionRegistry, name: str, one: CastPicture
) -> dict[str, Any]:
  """Adds a picture to the cast of a session; returns the session."""
  added = _in_size(registry.director, [one])
  return _change(registry, name, lambda cast: cast + added)


def remove_character(
  registry: SessionRegistry, name: str, character: str
) -> dict[str, Any]:
  """Removes a character from the cast of a session; returns the session."""

  def without(cast: Cast) -> Cast:
    return tuple(one for one in cast if one.name != character)

  return _change(registry, name, without)


def _change(
  registry: SessionRegistry, name: str, change: Callable[[Cast], Cast]
) -> dict[str, Any]:
  with registry.changed:
    session = registry.find(name)
    set_cast(session.live_film, change(session.live_film.cast))
    registry.notify(session)
    return session.to_json()
