"""What an endpoint of the server is, and checks that several of them share.

A handler takes (studio, path, body) and returns JSON, bytes of the media type
of its endpoint, or a Download. It runs on a thread of a pool and may raise
UserError.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

from cinejax.core.errors import UserError
from cinejax.film.journal import Film
from cinejax.serving.http.guard import MAX_BYTES
from cinejax.serving.studio import Studio

MAX_TITLE_CHARS = 200
Path = Mapping[str, Any]
Handler = Callable[[Studio, Path, Any], Any]
JSON, JPEG, MP4 = 'application/json', 'image/jpeg', 'video/mp4'
STILLS = 'application/octet-stream'


class Download(NamedTuple):
  """An answer that is a file."""

  file: BinaryIO  # of the disk, open from its start
  name: str  # under which a browser saves it
  media_type: str


@dataclasses.dataclass(frozen=True)
class Endpoint:
  method: str
  path: str  # in the syntax of Starlette
  handler: Handler
  summary: str  # one line
  media_type: str = JSON  # of the answer
  # The types of the fields of a JSON object; None: there is no body.
  body: Mapping[str, Any] | None = None
  max_bytes: int = MAX_BYTES  # of the body
  download: str = ''  # name under which a browser saves the answer


def check_title(title: str) -> None:
  """Raises UserError for a title that is too long."""
  if len(title) > MAX_TITLE_CHARS:
    raise UserError(f'the title is longer than {MAX_TITLE_CHARS} characters')


def check_film(studio: Studio, film: Film) -> None:
  """Raises UserError for a title or a prompt that is too long."""
  cfg = studio.director.cfg.serving
  check_title(film.title)
  if any(len(one.full_prompt) > cfg.prompt_chars for one in film.segments):
    raise UserError(f'a prompt is longer than {cfg.prompt_chars} characters')
